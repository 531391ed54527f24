# SPDX-License-Identifier: Apache-2.0
"""Write the C header with what a Trusted Application can say of its own build.

    python facts.py --output uc_facts.h --hardware-key none SETTING=VALUE... FILE...

The build id is the SHA-256 of the settings and of every file's name and content:
equal sources and settings give an equal id, wherever they are built.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HARDWARE_KEYS = {"unknown": 0, "none": 1, "unique": 2}


def build_id(settings: Sequence[str], files: Sequence[Path]) -> bytes:
    """Return the 32 bytes that name a build."""
    digest = hashlib.sha256()
    for setting in sorted(settings):
        digest.update(f"{setting}\n".encode())
    named = {}
    for path in files:
        full = path.resolve()
        inside = full.is_relative_to(ROOT) and "build" not in full.parts
        named[str(full.relative_to(ROOT)) if inside else full.name] = full
    for name, path in sorted(named.items()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{content}  {name}\n".encode())
    return digest.digest()


def facts_header(identity: bytes, hardware_key: str) -> str:
    """Return the header's text."""
    values = ", ".join(f"0x{byte:02x}" for byte in identity)
    return "\n".join(
        [
            "/* SPDX-License-Identifier: Apache-2.0 */",
            "/* Written by ta/tools/facts.py. Do not edit. */",
            "#ifndef UC_FACTS_H",
            "#define UC_FACTS_H",
            "",
            f"#define UC_HARDWARE_KEY {HARDWARE_KEYS[hardware_key]}U",
            f"#define UC_BUILD_ID {{ {values} }}",
            "",
            "#endif /* UC_FACTS_H */",
            "",
        ]
    )


def main() -> None:
    """Write the header unless it is there already."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--hardware-key", choices=HARDWARE_KEYS, default="unknown")
    parser.add_argument("inputs", nargs="*")
    options = parser.parse_args()
    settings = [text for text in options.inputs if "=" in text]
    files = [Path(text) for text in options.inputs if "=" not in text]
    text = facts_header(build_id(settings, files), options.hardware_key)
    if not options.output.exists() or options.output.read_text() != text:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)


if __name__ == "__main__":
    main()
