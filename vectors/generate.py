# SPDX-License-Identifier: Apache-2.0
"""Write the conformance vectors, or check that they are what they would be.

Usage: python vectors/generate.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from generators import (  # noqa: E402 needs the path above
    base,
    certificate_vectors,
    evidence_vectors,
    extension_vectors,
    file_vectors,
    header_vectors,
    license_vectors,
    page_vectors,
    question_vectors,
    terms_vectors,
    update_vectors,
)

DATA = HERE / "data"
GENERATORS = (
    header_vectors,
    license_vectors,
    terms_vectors,
    update_vectors,
    evidence_vectors,
    certificate_vectors,
    extension_vectors,
    file_vectors,
    page_vectors,
    question_vectors,
)


def expected_files() -> dict[str, str]:
    """Return name and content of every vector file."""
    return {f"{vector.name}.txt": vector.text() for vector in base.all_vectors()}


def differences() -> list[str]:
    """Return what differs between the folder and what it should hold."""
    wanted = expected_files()
    found = {path.name: path.read_text() for path in DATA.iterdir()}
    lines = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    lines += [f"{name} is stray" for name in sorted(found.keys() - wanted.keys())]
    return lines + [
        f"{name} differs"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    ]


def main() -> None:
    """Write or check."""
    if sys.argv[1:] == ["--check"]:
        lines = differences()
        if lines:
            print("\n".join(lines))
            print("run: python vectors/generate.py")
        sys.exit(1 if lines else 0)
    if sys.argv[1:]:
        sys.exit("usage: generate.py [--check]")
    DATA.mkdir(exist_ok=True)
    wanted = expected_files()
    for path in DATA.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (DATA / name).write_text(text)


if __name__ == "__main__":
    main()
