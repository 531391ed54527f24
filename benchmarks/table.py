# SPDX-License-Identifier: Apache-2.0
"""Write the tables in docs/benchmarks.md and README.md from the results here.

python benchmarks/table.py            # write
python benchmarks/table.py --check    # fail when they are stale
"""

from __future__ import annotations

import sys
from pathlib import Path

from undercroft._bench.report import Report, markdown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN = "<!-- begin: benchmarks/table.py writes this -->\n"
END = "<!-- end -->\n"


def tables() -> str:
    """All recorded results, a section each."""
    files = sorted(RESULTS.glob("*.json"))
    if not files:
        raise SystemExit(f"no results in {RESULTS}; record one with: make bench")
    return "\n".join(
        f"### {path.stem}\n\n{markdown(Report.load(path))}" for path in files
    )


def summary() -> str:
    """The first table of the first recorded result."""
    return tables().split("\n\n")[1] + "\n"


PAGES = {ROOT / "docs" / "benchmarks.md": tables, ROOT / "README.md": summary}


def page(path: Path, text: str) -> str:
    """Put a page's tables between its marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} has no place for the tables")
    return f"{before}{BEGIN}\n{PAGES[path]()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write or check; return the exit code."""
    stale = 0
    for path in PAGES:
        text = path.read_text()
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
