# SPDX-License-Identifier: Apache-2.0
"""Write the tables in docs/benchmarks.md from the results recorded here.

python benchmarks/table.py            # write
python benchmarks/table.py --check    # fail when they are stale
"""

from __future__ import annotations

import sys
from pathlib import Path

from undercroft._bench.report import Report, markdown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
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


def page(text: str) -> str:
    """Put the tables between the marks of the page."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no place for the tables")
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write or check; return the exit code."""
    text = PAGE.read_text()
    wanted = page(text)
    if "--check" in arguments:
        if text != wanted:
            print(f"{PAGE} is stale: run python benchmarks/table.py", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
