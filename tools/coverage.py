# SPDX-License-Identifier: Apache-2.0
"""Which lines of the engine and of the TA's boundary the tests run.

Copies the tree to build/coverage, puts compilers in front of the others that count
lines (gcc's --coverage), runs the engine's tests there, arm64's in user-mode
emulation among them, and adds up what gcov says of every object. A line counts as
run when it ran in any of them.

    python tools/coverage.py                  all, about ten minutes
    python tools/coverage.py --only-report    of the last run

Writes benchmarks/results/coverage.json and fails below 95 % of the lines of engine/
or of ta/.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "coverage"
TREE = FOLDER / "tree"
RESULT = ROOT / "benchmarks" / "results" / "coverage.json"
LEAST_PERCENT = 95.0

COMPILERS = ("gcc", "cc", "aarch64-linux-gnu-gcc")
FLAGS = "-O1 --coverage -fprofile-update=atomic"
TESTS = ("tests/engine", "tests/tee", "tests/conformance", "tests/attacks")
ENGINE_TESTS = (
    "tests/device/test_client_engine.py",
    "tests/device/test_terms_engine.py",
)
MARKS = "not board and not exhaustive and not zoo and not slow"
# What counts instructions, bytes or files says nothing of a counting build; the TA is
# not linked with what counts.
NOT_HERE = (
    "tests/engine/ops/test_instructions.py",
    "tests/engine/test_aead.py::test_a_page_takes_so_many_instructions_a_byte",
    "tests/engine/test_endurance.py",
    "tests/engine/test_library.py::test_no_path_of_this_machine_is_inside",
    "tests/engine/test_ta_plain_core.py",
    "tests/attacks/test_index.py",
)

MEASURED = ("engine/src/", "engine/port/", "ta/src/")
# Tables of kernels: there is no line that could run.
TABLES = "engine/src/kernels/kernels_"
# Who runs what no line is counted of: the vector registers that OP-TEE stores, static
# objects of arm64's libcrypto, and a file that its test compiles by itself.
ELSEWHERE = {
    "engine/port/ed25519_libcrypto.c": "tests/device/test_ta_port.py, on the board",
    "engine/port/memory_armv8.c": "tests/engine/test_port_armv8.py, in user mode",
    "ta/src/registers.c": "tests/device/test_wiping.py, on the board",
}


def prepare() -> dict[str, str]:
    """Copy what git knows; return the environment of a counting build."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            target = TREE / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    compilers = FOLDER / "bin"
    compilers.mkdir()
    for name in COMPILERS:
        real = shutil.which(name)
        if real is None:
            raise SystemExit(f"{name} is missing: run make setup")
        wrapper = compilers / name
        wrapper.write_text(f'#!/bin/sh\nexec {real} "$@" {FLAGS}\n')
        wrapper.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{compilers}:{os.environ['PATH']}",
        "PYTHONPATH": str(TREE / "src"),
    }


def run_tests(environment: dict[str, str]) -> int:
    """Run the tests in the copy; return pytest's exit code."""
    tests = [name for name in (*TESTS, *ENGINE_TESTS) if (TREE / name).exists()]
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-m", MARKS, *tests),
            *(f"--deselect={name}" for name in NOT_HERE),
        ],
        cwd=TREE,
        env=environment,
        check=False,
    ).returncode


def count() -> dict[str, dict[int, int]]:
    """Return how often each line of each file ran, over all objects."""
    counts: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for notes in sorted((TREE / "build").rglob("*.gcno")):
        done = subprocess.run(
            ["gcov", "--json-format", "--stdout", str(notes)],
            cwd=TREE / "engine",
            capture_output=True,
            check=False,
        )
        for report in filter(None, done.stdout.splitlines()):
            compiled = json.loads(report)
            for file in compiled["files"]:
                name = relative(compiled["current_working_directory"], file["file"])
                if name is None:
                    continue
                for line in file["lines"]:
                    counts[name][line["line_number"]] += line["count"]
    return counts


def relative(folder: str, name: str) -> str | None:
    """Return a source's path in the tree when it is one that is measured."""
    path = Path(os.path.normpath(TREE / "engine" / folder / name))
    if not path.is_relative_to(TREE):
        return None
    inside = path.relative_to(TREE).as_posix()
    return inside if inside.startswith(MEASURED) else None


def report(counts: dict[str, dict[int, int]]) -> float:
    """Print a table and write the record; return the least percentage."""
    files = {}
    for name, lines in sorted(counts.items()):
        missed = sorted(number for number, times in lines.items() if times == 0)
        files[name] = {"lines": len(lines), "run": len(lines) - len(missed)}
        percent = 100 * files[name]["run"] / len(lines)
        print(
            f"{name:44} {files[name]['run']:5} of {len(lines):5} {percent:6.1f} %  "
            f"{spans(missed)}"
        )
    parts = {
        name: part(files, prefix)
        for name, prefix in (("engine", "engine/"), ("ta", "ta/"), ("all", ""))
    }
    sources = [
        path
        for top in ("engine/src", "engine/port", "ta/src")
        for path in sorted((ROOT / top).rglob("*.c"))
    ]
    unseen = sorted(
        path.relative_to(ROOT).as_posix()
        for path in sources
        if path.relative_to(ROOT).as_posix() not in files
        and not path.relative_to(ROOT).as_posix().startswith(TABLES)
    )
    for name, sums in parts.items():
        print(
            f"{name:44} {sums['run']:5} of {sums['lines']:5} {sums['percent']:6.1f} %"
        )
    for name in unseen:
        print(f"{name:44} not measured: {ELSEWHERE.get(name, 'NOBODY RUNS IT')}")
    RESULT.write_text(
        json.dumps(
            {
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "commit": commit(),
                "tests": [*TESTS, *ENGINE_TESTS],
                **parts,
                "files": files,
                "not_measured": {name: ELSEWHERE.get(name) for name in unseen},
            },
            indent=1,
        )
        + "\n"
    )
    if set(unseen) - set(ELSEWHERE):
        return 0.0
    return min(sums["percent"] for sums in parts.values())


def part(files: dict[str, dict[str, int]], prefix: str) -> dict[str, float]:
    """Add up the files below a folder."""
    inside = [file for name, file in files.items() if name.startswith(prefix)]
    lines = sum(file["lines"] for file in inside)
    run = sum(file["run"] for file in inside)
    return {
        "lines": lines,
        "run": run,
        "percent": round(100 * run / max(lines, 1), 2),
    }


def commit() -> str:
    """Return the last commit of what is measured."""
    done = subprocess.run(
        ["git", "log", "-1", "--format=%h", "--", "engine", "ta", "spec", "tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def spans(numbers: list[int]) -> str:
    """Write line numbers as ranges."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only-report", action="store_true")
    arguments = parser.parse_args()
    code = 0
    if not arguments.only_report:
        code = run_tests(prepare())
    percent = report(count())
    if percent < LEAST_PERCENT:
        print(f"{percent:.1f} % is less than {LEAST_PERCENT} %", file=sys.stderr)
    return code or int(percent < LEAST_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
