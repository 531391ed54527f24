# SPDX-License-Identifier: Apache-2.0
"""Say how large a built Trusted Application is and how much of it is trusted.

    python report.py OUT --uuid UUID --size aarch64-linux-gnu-size [--json]

Lines are those of the project's own files that the build read: neither blank
nor comment. Secure memory is what OP-TEE sets aside for one instance: the
loaded file with its arena, and the stack.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PAGE_BYTES = 4096
# Sections of the file that are not loaded.
_ASIDE = (".debug", ".comment", ".symtab", ".strtab", ".shstrtab")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_STACK = re.compile(r"#define TA_STACK_SIZE \((\d+) \* 1024\)")


def code_lines(text: str) -> int:
    """Count the lines of C that are neither blank nor comment."""
    return sum(bool(line.strip()) for line in _COMMENT.sub("", text).splitlines())


def own_files(objects: Path) -> set[Path]:
    """Return the project's own files that the compiler read, by its notes."""
    found = set()
    for note in objects.rglob(".*.o.d"):
        names = note.read_text().replace("\\\n", " ").split(":", 1)[-1].split()
        # The build runs in ta/, which relative names start from.
        found |= {(ROOT / "ta" / name).resolve() for name in names}
    return {path for path in found if path.is_relative_to(ROOT) and path.is_file()}


def kind_of(path: Path) -> str:
    """Name the part of the project that a file belongs to."""
    parts = path.relative_to(ROOT).parts
    return parts[0] if parts[0] in ("ta", "engine") else "generated"


def section_bytes(tool: str, elf: Path) -> Counter[str]:
    """Return what the file takes in memory: code and constants, data, zeros."""
    done = subprocess.run(
        [tool, "-A", "-d", str(elf)], capture_output=True, text=True, check=True
    )
    sizes: Counter[str] = Counter()
    for line in done.stdout.splitlines():
        match line.split():
            case [name, size, _] if size.isdigit() and not name.startswith(_ASIDE):
                kind = {".data": "data", ".bss": "zeros"}.get(name, "code")
                sizes[kind] += int(size)
    return sizes


def report(out: Path, uuid: str, size_tool: str) -> dict[str, int]:
    """Return the numbers, by name."""
    lines: Counter[str] = Counter()
    for path in own_files(out / "obj"):
        lines[kind_of(path)] += code_lines(path.read_text())
    if not lines["ta"] or not lines["engine"]:
        raise SystemExit(f"report: no objects in {out}; build with: make ta")
    sizes = section_bytes(size_tool, out / "obj" / f"{uuid}.elf")
    header = (ROOT / "ta" / "user_ta_header_defines.h").read_text()
    stack = _STACK.search(header)
    if stack is None:
        raise SystemExit("report: user_ta_header_defines.h names no stack size")
    stack_bytes = int(stack[1]) * 1024
    memory = sum(-(-size // _PAGE_BYTES) * _PAGE_BYTES for size in sizes.values())
    return {
        "file_bytes": (out / f"{uuid}.ta").stat().st_size,
        "code_bytes": sizes["code"],
        "data_bytes": sizes["data"],
        "zeros_bytes": sizes["zeros"],
        "stack_bytes": stack_bytes,
        "secure_memory_bytes": memory + stack_bytes,
        "lines_ta": lines["ta"],
        "lines_engine": lines["engine"],
        "lines_generated": lines["generated"],
    }


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--uuid", required=True)
    parser.add_argument("--size", required=True, metavar="TOOL")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    numbers = report(options.out.resolve(), options.uuid, options.size)
    if options.json:
        sys.stdout.write(json.dumps(numbers) + "\n")
        return
    for name, number in numbers.items():
        sys.stdout.write(f"{name:20} {number:>10,}\n")


if __name__ == "__main__":
    main()
