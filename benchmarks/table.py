# SPDX-License-Identifier: Apache-2.0
"""Write the tables and the figure of the documents from the results here.

python benchmarks/table.py            # write
python benchmarks/table.py --check    # fail when they are stale
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from undercroft._bench.report import Report, Row, markdown, mib

sys.path.insert(0, str(Path(__file__).parent))

import figure
import goals

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN = "<!-- begin: {}benchmarks/table.py writes this -->\n"
END = "<!-- end -->\n"


def tables() -> str:
    """All results recorded on the board, a section each."""
    files = sorted(RESULTS.glob("emulated-board*.json"))
    if not files:
        raise SystemExit(f"no results in {RESULTS}; record one with: make bench")
    return "\n".join(
        f"### {path.stem}\n\n{markdown(Report.load(path))}" for path in files
    )


def recorded() -> list[Row]:
    """All rows recorded on the board."""
    return [
        row
        for path in sorted(RESULTS.glob("emulated-board*.json"))
        for row in Report.load(path).rows
    ]


def reached() -> str:
    """The goals, and what is recorded against each."""
    return goals.markdown(goals.goals(recorded()))


def summary() -> str:
    """The first table of the first recorded result."""
    return tables().split("\n\n")[1] + "\n"


def sealing() -> str:
    """What sealing costs, against its bound."""
    found: dict[str, Any] = json.loads((RESULTS / "sealing.json").read_text())
    rows = [
        ("model", found["model"]),
        ("weights", mib(found["weights_bytes"])),
        ("as many AES-256-GCM bytes written", f"{found['bound_seconds']:.2f} s"),
        ("planning", f"{found['plan_seconds']:.2f} s"),
        ("sealing", f"{found['seconds']:.2f} s"),
        ("planning and sealing / bound", f"{found['ratio_with_planning']:.2f}"),
        ("most memory (RSS)", mib(found["peak_bytes"])),
        *((key.replace("_", " "), text) for key, text in found["environment"].items()),
    ]
    lines = ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows)]
    return "\n".join(lines) + "\n"


def operators() -> str:
    """Multiply-accumulates per instruction of whole networks and their operators."""
    found = json.loads((RESULTS / "operators-arm64.json").read_text())
    lines = [
        "| model | M MAC | M instructions | MAC each | most of it |",
        "|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        most = [
            f"{part['operator']} "
            f"{100 * part['instructions'] / row['instructions']:.0f} %"
            + (f" at {part['macs'] / part['instructions']:.2f}" if part["macs"] else "")
            for part in row["classes"][:4]
        ]
        lines.append(
            f"| {row['model']} | {row['macs'] / 1e6:.1f} "
            f"| {row['instructions'] / 1e6:.1f} "
            f"| {row['macs'] / row['instructions']:.2f} | {', '.join(most)} |"
        )
    return "\n".join(lines) + "\n"


def wall() -> str:
    """Seconds of the engine and onnxruntime on a host."""
    found = json.loads((RESULTS / "host.json").read_text())
    lines = [
        "| model | engine | onnxruntime | engine / onnxruntime |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['model']} | {1e3 * row['engine_seconds']:.1f} ms "
        f"| {1e3 * row['onnxruntime_seconds']:.1f} ms | {row['ratio']:.2f} |"
        for row in found["rows"]
    ]
    lines += [
        f"| {row['model']} | not measured: {row['message']} | | |"
        for row in found["failures"]
    ]
    where = ", ".join(
        f"{key.replace('_', ' ')} {text}" for key, text in found["environment"].items()
    )
    return "\n".join([*lines, "", f"On: {where}."]) + "\n"


def planning() -> str:
    """What each network needs, and for each budget what its plan costs and took."""
    found = json.loads((RESULTS / "planning.json").read_text())
    by_model: dict[str, dict[int, dict[str, Any]]] = {}
    for row in found["rows"]:
        by_model.setdefault(row["model"], {})[row["budget_bytes"]] = row
    sizes = sorted({row["budget_bytes"] for row in found["rows"]}, reverse=True)
    titles = ["model", "least", *(mib(size) for size in sizes)]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for model, rows in by_model.items():
        cells = [
            f"{rows[size]['expected_overhead']:.3f} in {rows[size]['seconds']:.1f} s"
            if size in rows
            else ""
            for size in sizes
        ]
        least = f"{found['least_budget_bytes'][model] / 2**20:.2f} MiB"
        lines.append(f"| {' | '.join([model, least, *cells])} |")
    where = ", ".join(
        f"{key.replace('_', ' ')} {text}" for key, text in found["environment"].items()
    )
    return "\n".join([*lines, "", f"On: {where}."]) + "\n"


PLACES: dict[Path, dict[str, Callable[[], str]]] = {
    ROOT / "docs" / "benchmarks.md": {
        "": tables,
        "goals: ": reached,
        "operators: ": operators,
        "host: ": wall,
        "sealing: ": sealing,
    },
    ROOT / "docs" / "memory-budget.md": {"planning: ": planning},
    ROOT / "README.md": {"": summary},
}


FIGURE = ROOT / "docs" / "images" / "benchmarks.svg"


def page(path: Path, text: str) -> str:
    """Put a page's tables between their marks."""
    if path == FIGURE:
        return figure.svg(recorded())
    for what, table in PLACES[path].items():
        mark = BEGIN.format(what)
        before, begin, rest = text.partition(mark)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise SystemExit(f"{path} has no place for: {mark}")
        text = f"{before}{begin}\n{table()}\n{END}{after}"
    return text


def main(arguments: list[str]) -> int:
    """Write or check; return the exit code."""
    stale = 0
    for path in (*PLACES, FIGURE):
        text = path.read_text() if path.exists() else ""
        wanted = page(path, text)
        if text == wanted:
            continue
        if "--check" in arguments:
            print(f"{path} is stale: run python benchmarks/table.py", file=sys.stderr)
            stale = 1
        else:
            path.write_text(wanted)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
