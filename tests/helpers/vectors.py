# SPDX-License-Identifier: Apache-2.0
"""The conformance vectors, as `vectors/README.md` describes them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

VECTORS: Final = Path(__file__).resolve().parents[2] / "vectors"

Fields = dict[str, str]


def load(path: Path) -> Fields:
    """Return the lines of a vector."""
    pairs = (line.partition(": ") for line in path.read_text().splitlines())
    return {name: value for name, _, value in pairs}


def of_kind(kind: str) -> dict[str, Fields]:
    """Return all vectors of a kind by their names, in order."""
    vectors = {path.stem: load(path) for path in sorted((VECTORS / "data").iterdir())}
    return {name: v for name, v in vectors.items() if v["kind"] == kind}
