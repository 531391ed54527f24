# SPDX-License-Identifier: Apache-2.0
"""The index of the attacks is current, and what it says is so."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent
# No branch or index by a secret: what shows it is not a run that could go wrong.
NOT_ATTACKED = {10}
MODEL = FOLDER.parents[1] / "docs" / "security-model.md"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("index", FOLDER / "index.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["index"] = module
    spec.loader.exec_module(module)
    return module


index = load()
ATTACKS = index.attacks()


def test_the_readme_is_current() -> None:
    assert len(ATTACKS) >= 16
    assert index.README.read_text() == index.page(), "python tests/attacks/index.py"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.path.stem)
def test_it_is_as_it_says(attack) -> None:
    source = attack.path.read_text()
    assert set(attack.places) <= set(index.PLACES)
    marked = set(re.findall(r"pytest\.mark\.(engine|board)\b", source))
    assert marked == {{"host": "engine"}.get(p, p) for p in attack.places}
    for path in attack.also:
        assert (index.ROOT / path).is_file(), path
    # After every attack the next honest inference gives the right answer.
    assert re.search(r"assert_next_is_right|\.honest\(|assert_\w*right", source)


def test_every_invariant_is_attacked_and_every_attack_is_of_one() -> None:
    model = MODEL.read_text()
    section = model.partition("## What holds")[2].partition("\n## ")[0]
    numbers = {int(number) for number in re.findall(r"^(\d+)\. ", section, re.M)}
    attacked = {n for attack in ATTACKS for n in attack.invariants}
    assert attacked | NOT_ATTACKED == numbers
    assert not attacked & NOT_ATTACKED
    assert "tests/attacks/README.md" in model
