# SPDX-License-Identifier: Apache-2.0
"""Generate the engine's CBOR decoders from spec/undercroft.cddl.

Usage: python engine/tools/gen_cbor.py OUT_DIR

Fills OUT_DIR with everything that is to be compiled besides engine/src:

- uc_cbor_decode.c, uc_cbor_decode.h, uc_cbor_types.h, written by zcbor;
- zcbor_decode.c, zcbor_common.c and their headers, zcbor's own runtime, copied
  from the installed package so that a build needs one folder only.

Compile those C files with `flags.txt`, one flag a line: they are not ours and
not written to our warnings. All files including uc_cbor_decode.h need OUT_DIR
on their include path. Nothing is rewritten when it would not change, so that
`make` has nothing to do again.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

ZCBOR_VERSION = "0.9.1"
CDDL = Path(__file__).resolve().parents[2] / "spec" / "undercroft.cddl"

ENTRY_TYPES = (
    "cose-sign1",
    "provider-bucket",
    "sealed-header",
    # An entry type is handed out as bytes where it stands in a byte string, so
    # the engine does not look inside the inputs and outputs.
    "io",
    "license-claims",
    "wrapped-key",
    "hpke-bucket",
    "update-claims",
)
RUNTIME = (
    "src/zcbor_common.c",
    "src/zcbor_decode.c",
    "include/zcbor_common.h",
    "include/zcbor_decode.h",
    "include/zcbor_print.h",
    "include/zcbor_tags.h",
)
FLAGS = (
    "-DZCBOR_CANONICAL",  # refuse what is not deterministically encoded
    "-fno-strict-aliasing",  # the runtime reuses a state as another struct
    "-fno-sanitize=pointer-overflow",  # it adds 0 to a result that is NULL
    "-w",
)


def zcbor_folder() -> Path:
    """Return the folder of the installed zcbor package."""
    spec = importlib.util.find_spec("zcbor")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"zcbor is missing: python -m pip install zcbor=={ZCBOR_VERSION}")
    version = importlib.metadata.version("zcbor")
    if version != ZCBOR_VERSION:
        sys.exit(
            f"zcbor {version} is installed and {ZCBOR_VERSION} is needed: "
            f"python -m pip install zcbor=={ZCBOR_VERSION}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def generate(folder: Path) -> None:
    """Run zcbor, writing into `folder`."""
    decoder = folder / "uc_cbor_decode"
    command = [sys.executable, str(zcbor_folder() / "zcbor" / "zcbor.py"), "code"]
    command += ["--cddl", str(CDDL), "--decode"]
    command += ["--entry-types", *ENTRY_TYPES]
    command += ["--output-c", f"{decoder}.c", "--output-h", f"{decoder}.h"]
    command += ["--output-h-types", str(folder / "uc_cbor_types.h")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"zcbor refused {CDDL.name}:\n{done.stdout}{done.stderr}")


def main() -> None:
    """Write all files into the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: gen_cbor.py OUT_DIR")
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    package = zcbor_folder()
    files = {Path(name).name: (package / name).read_bytes() for name in RUNTIME}
    files["flags.txt"] = "".join(f"{flag}\n" for flag in FLAGS).encode()
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        for path in sorted(Path(scratch).iterdir()):
            files[path.name] = path.read_bytes()
    for name, content in files.items():
        target = out / name
        if not target.exists() or target.read_bytes() != content:
            target.write_bytes(content)


if __name__ == "__main__":
    main()
