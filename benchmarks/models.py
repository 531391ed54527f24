# SPDX-License-Identifier: Apache-2.0
"""Verify every known network under every budget, and record what came out.

python benchmarks/models.py                              # host:, all of them
python benchmarks/models.py --device board:             # results/models-board.json
python benchmarks/models.py --model resnet-50 --budget 4MiB
python benchmarks/models.py --table [--check]            # docs/models.md

Rows are recorded one by one. What the record holds already for the same sources
is not done again, so an interrupted run goes on where it was; `--again` does all.
A network that cannot be imported or planned is a row that failed. It exits with 1
when a row failed, and says which of them `expected.json` promises.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from undercroft import _models
from undercroft._bench.environment import fingerprint, host
from undercroft._format.files import write_file
from undercroft.plan import parse_budget

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
EXPECTED = Path(__file__).with_name("expected.json")
PAGE = ROOT / "docs" / "models.md"
BEGIN = "<!-- begin: benchmarks/models.py writes this -->\n"
END = "<!-- end -->\n"

MIB = 1 << 20
BUDGETS = (12 * MIB, 7 * MIB, 4 * MIB)
SMALLEST = 2 * MIB
IN_SMALLEST = {
    "efficientnet-lite0",
    "mobilenet-v1",
    "mobilenet-v2",
    "mobilenet-v3",
    "squeezenet-1.1",
    "ppocr-cls",
}
DEVICES = ("host", "board")
BOARD = "models"
ROW_TIMEOUT_SECONDS = 3600

Row = dict[str, Any]


def budgets(model: str) -> tuple[int, ...]:
    """Every budget that a network has to work in, in bytes."""
    return (*BUDGETS, SMALLEST) if model in IN_SMALLEST else BUDGETS


def expected(device: str) -> list[tuple[str, int]]:
    """The rows that must pass, by model and budget; the list may only grow."""
    listed = json.loads(EXPECTED.read_text())[device]
    return [(model, size * MIB) for model, sizes in listed.items() for size in sizes]


def result_file(device: str) -> Path:
    """Where the rows of a device are recorded."""
    return RESULTS / f"models-{device}.json"


def load(device: str) -> dict[str, Any]:
    """Read what is recorded."""
    try:
        document: dict[str, Any] = json.loads(result_file(device).read_text())
    except FileNotFoundError:
        document = {"environment": {}, "rows": []}
    return document


def verify(model: str, budget: int, uri: str) -> Row:
    """Run one row in a process of its own."""
    command = [sys.executable, "-m", "undercroft", "verify", model, "--json"]
    command += ["--device", uri, "--budget", str(budget)]
    began = time.monotonic()
    row: Row = {"model": model, "budget_bytes": budget}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ROW_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        row |= {"passed": False, "error": f"no answer in {ROW_TIMEOUT_SECONDS} s"}
    else:
        try:
            row = json.loads(done.stdout) | row
        except ValueError:
            row |= {"passed": False, "error": _reason(done.stderr)}
        row["exit_code"] = done.returncode
    row["wall_seconds"] = round(time.monotonic() - began, 1)
    return row


def _reason(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    starts = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if not starts:
        return lines[-1] if lines else "it gave no reason"
    found = [
        line
        for line in lines[starts[-1] :]
        if not line.startswith(("hint: ", "warning: "))
    ]
    return " ".join(found).removeprefix("error: ")[:600]


def run(device: str, wanted: Iterable[tuple[str, int]], *, again: bool) -> list[Row]:
    """Verify what is wanted, recording each row, and return those rows."""
    document = load(device)
    state = fingerprint()
    kept = {(row["model"], row["budget_bytes"]): row for row in document["rows"]}
    rows = []
    up = False
    try:
        for model, budget in wanted:
            row = kept.get((model, budget))
            if again or row is None or row.get("fingerprint") != state:
                if device == "board" and not up:
                    _start_board()
                    up = True
                row = verify(model, budget, f"board:{BOARD}" if up else "host:")
                row["fingerprint"] = state
                kept[model, budget] = row
                _write(device, {"environment": host(), "rows": _sorted(kept.values())})
            rows.append(row)
            print(_line(row), flush=True)
    finally:
        if up:
            _stop_board()
    return rows


def _start_board() -> None:
    from undercroft import _board

    _board.ensure_up(
        BOARD, large=True, progress=lambda text: print(f"  {text}", flush=True)
    )


def _stop_board() -> None:
    from undercroft import _board

    _board.down(BOARD, wipe=True)


def _sorted(rows: Iterable[Row]) -> list[Row]:
    order = list(_models.names())
    return sorted(
        rows, key=lambda row: (order.index(row["model"]), -row["budget_bytes"])
    )


def _write(device: str, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=1) + "\n"
    write_file(result_file(device), text.encode(), overwrite=True)


def _line(row: Row) -> str:
    start = f"{row['model']:20} {row['budget_bytes'] / MIB:5g} MiB  "
    if "max_rel_error" not in row:
        return f"{start}FAILED {row['error'][:150]}"
    return (
        f"{start}{'passed' if row['passed'] else 'FAILED'} "
        f"error {row['max_rel_error']:.1e}, peak "
        f"{row['secure_peak_bytes'] / MIB:.2f} MiB, decrypted "
        f"{row['decrypted_bytes'] / MIB:.1f} MiB, {row['wall_seconds']:.0f} s"
    )


# ---- the page


def table() -> str:
    """All recorded rows: budgets side by side, a line for each network."""
    sizes = (*BUDGETS, SMALLEST)
    lines = []
    for device in DEVICES:
        document = load(device)
        if not document["rows"]:
            continue
        rows = {(row["model"], row["budget_bytes"]): row for row in document["rows"]}
        passed = sum(row["passed"] for row in rows.values())
        total = sum(len(budgets(model)) for model in _models.names())
        where = ", ".join(str(value) for value in document["environment"].values())
        lines += [
            f"### On `{device}:`, {passed} of {total}",
            "",
            "| model | weights | "
            + " | ".join(f"{s // MIB} MiB" for s in sizes)
            + " |",
            "|---|---|" + "---|" * len(sizes),
        ]
        for model in _models.names():
            found = [rows.get((model, size)) for size in sizes]
            weights = [
                row["weights_bytes"] for row in found if row and "tolerance" in row
            ]
            cells = [
                _cell(row) if size in budgets(model) else ""
                for size, row in zip(sizes, found, strict=True)
            ]
            size = f"{weights[0] / MIB:.1f} MiB" if weights else ""
            lines.append(f"| {model} | {size} | " + " | ".join(cells) + " |")
        lines += ["", f"Recorded on: {where}.", ""]
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "not run"
    if "max_rel_error" in row:
        error = f"{row['max_rel_error']:.0e}".replace("e-0", "e-")
        decrypted = f"{row['decrypted_bytes'] / MIB:.1f} MiB"
        return f"{error}, {decrypted}" if row["passed"] else f"**wrong**, {error}"
    if row["exit_code"] == 3:
        return "**operators**"
    return "**budget**" if row["exit_code"] == 4 else "**failed**"


def write_table(*, check: bool) -> int:
    """Put the table into the page, or say whether it is stale."""
    text = PAGE.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no place for the table")
    wanted = f"{before}{begin}\n{table()}{end}{after}"
    if text == wanted:
        return 0
    if check:
        print(f"{PAGE} is stale: run python benchmarks/models.py --table")
        return 1
    PAGE.write_text(wanted)
    return 0


# ---- the program


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=[f"{d}:" for d in DEVICES], default="host:")
    parser.add_argument("--model", action="append", choices=_models.names())
    parser.add_argument("--budget", action="append")
    parser.add_argument("--again", action="store_true", help="do recorded rows again")
    parser.add_argument("--table", action="store_true", help="write docs/models.md")
    parser.add_argument("--check", action="store_true", help="only look at it")
    given = parser.parse_args()
    if given.table:
        return write_table(check=given.check)
    device = given.device.removesuffix(":")
    sizes = [parse_budget(budget) for budget in given.budget or ()]
    wanted = [
        (model, budget)
        for model in given.model or _models.names()
        for budget in sizes or budgets(model)
        if budget is not None
    ]
    rows = run(device, wanted, again=given.again)
    failed = {(row["model"], row["budget_bytes"]) for row in rows if not row["passed"]}
    passed = {(row["model"], row["budget_bytes"]) for row in rows if row["passed"]}
    promised = set(expected(device))
    for model, budget in sorted(failed & promised):
        print(f"REGRESSION: {model} in {budget / MIB:g} MiB")
    for model, budget in sorted(passed - promised):
        print(f"new, for {EXPECTED.name}: {model} in {budget / MIB:g} MiB")
    print(f"{len(passed)} of {len(rows)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
