# SPDX-License-Identifier: Apache-2.0
"""An authentic program that is a lie.

Asset: secure memory outside of the session's region, other sessions' models in it.
Attack: a provider's own, rightly sealed model whose program has any number of any
    record replaced by boundaries and neighbours: operators, shapes, offsets, lifetimes,
    counts.
Defence: the program is checked whole, against the memory it was given, before its first
    operator runs; the arena is asked for every range.
Invariant: 5, 7
Runs on: host
Also: tests/fuzz/fuzz_program.c, tests/engine/test_program.c
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import undercroft as uc
from helpers import attacked
from helpers.attacked import (
    HOST_KEY,
    OTHER_PROVIDER,
    Attacked,
    assert_next_is_right,
    load,
)
from undercroft._device.host import HostDevice
from undercroft.errors import DeviceError, FormatError
from undercroft.keys import ModelKey

HALVES = (0, 1, 0x7FFF, 0x8000, 0xFFFF)
KEY = ModelKey(b"a hostile model!", bytes(32))
FEWEST = 1500


class Lying:
    """A plan with another program."""

    def __init__(self, plan: uc.Plan, program: bytes) -> None:
        self._plan = plan
        self._program = program

    def program(self) -> bytes:
        """The lie."""
        return self._program

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plan, name)


def lies(program: bytes) -> Iterator[bytes]:
    """Programs with one number of 16 bits changed, every place in turn."""
    for at in range(0, len(program.rstrip(b"\0")) // 2 * 2, 2):
        (now,) = struct.unpack_from("<H", program, at)
        near = {(now + 1) % 65536, (now - 1) % 65536, now ^ 0x100}
        for value in sorted({*HALVES, *near} - {now}):
            changed = bytearray(program)
            struct.pack_into("<H", changed, at, value)
            yield bytes(changed)


@pytest.mark.engine
@pytest.mark.parametrize(
    "share",
    [
        pytest.param(8, id="an-eighth"),
        pytest.param(
            1, id="all", marks=[pytest.mark.attacks, pytest.mark.timeout(900)]
        ),
    ],
)
def test_no_lie_reaches_beyond_its_own_model(
    host: HostDevice, goods: Attacked, tmp_path: Path, share: int
) -> None:
    _, plan = attacked.made()
    path = tmp_path / "lie.sealed"
    permit = uc.issue_license(
        model_key=KEY, device=HOST_KEY.public, signing_key=OTHER_PROVIDER
    )
    neighbour = load(host, goods)
    outcomes: Counter[str] = Counter()
    everything = list(lies(plan.program()))
    chosen = random.Random(share).sample(everything, len(everything) // share)
    for number, program in enumerate(chosen):
        uc.seal(
            path,
            path,
            plan=Lying(plan, program),
            signing_key=OTHER_PROVIDER,
            model_id=KEY.model_id,
            content_key=KEY.content_key,
        )
        try:
            model = host.load(path, permit)
            outputs, _ = model.infer([np.zeros((1, 3, 12, 12), np.float32)])
            assert outputs[0].shape == goods.expected.shape
            outcomes["ran"] += 1
            model.close()
        except (DeviceError, FormatError) as error:
            outcomes[type(error).__name__] += 1
        # A model that lies beside it in memory is what it was.
        if number % 8 == 0:
            assert_next_is_right(host, goods, neighbour)
    assert outcomes.total() == len(chosen) > FEWEST // share
    # Some numbers are not wrong: other weights, another order that is right as well.
    assert outcomes["ran"] < outcomes.total() // 4
    assert_next_is_right(host, goods, neighbour)
    neighbour.close()
    assert_next_is_right(host, goods)
