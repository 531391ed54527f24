# SPDX-License-Identifier: Apache-2.0
"""What the normal world sees of a run: calls, and nothing that depends on inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import undercroft as uc
from helpers import onnx_nets
from helpers.graphs import GraphNet
from undercroft._device.host import HostDevice, HostInvoker
from undercroft._spec import Command
from undercroft.errors import BudgetExceededError
from undercroft.keys import DevicePublicKey
from undercroft.plan import Plan
from undercroft.tensor import TensorInfo

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::undercroft._device.host.NoProtectionWarning"),
]

Call = tuple[Command, tuple[int, int], int, tuple[int, int, int]]
"""Command, its two numbers, bytes given, and the pages that are wanted next."""


@pytest.fixture
def seen(monkeypatch) -> list[Call]:
    """Every call of a session, as it crosses the boundary."""
    calls: list[Call] = []
    invoke = HostInvoker.invoke

    def watched(self, command, *, values=(0, 0), buffer_bytes=0, **others):
        reply = invoke(
            self, command, values=values, buffer_bytes=buffer_bytes, **others
        )
        wanted = (reply.want_first, reply.want_count, len(reply.output))
        calls.append((command, values, buffer_bytes, wanted))
        return reply

    monkeypatch.setattr(HostInvoker, "invoke", watched)
    return calls


def inputs_of(tensors: Sequence[TensorInfo]) -> list[list[np.ndarray]]:
    """Inputs that have as little in common as can be."""
    random = np.random.default_rng(3)
    shapes = [tensor.shape for tensor in tensors]
    return [
        [random.standard_normal(shape, np.float32) for shape in shapes],
        *(
            [np.full(shape, value, np.float32) for shape in shapes]
            for value in (0.0, np.nan, 3e38)
        ),
        [random.standard_normal(shape, np.float32) for shape in shapes],
    ]


def tightest(plan: Callable[[int], Plan]) -> Plan:
    """Plan with the least memory there is a plan for."""
    with pytest.raises(BudgetExceededError) as error:
        plan(1)
    return plan(error.value.needed_bytes)


def small_plan(name: str, budget: int) -> Plan:
    return uc.plan(onnx_nets.case(name).model, budget=budget, page_bytes=4096)


def spilling_plan(budget: int) -> Plan:
    """A network whose first activation waits for long."""
    net = GraphNet(4, 48, 48)
    skip = net.conv(0, 8, 1)
    y = net.transpose(net.conv(net.transpose(skip), 8, 1))
    y = net.transpose(net.conv(net.transpose(y), 8, 1))
    return net.plan(net.add(skip, y), budget=budget)


@pytest.mark.parametrize(
    ("make_plan", "spills"),
    [
        (lambda: tightest(partial(small_plan, "lenet")), False),
        (lambda: small_plan("lenet", 1 << 20), False),
        (lambda: tightest(spilling_plan), True),
    ],
    ids=["streamed", "resident", "spilled"],
)
def test_calls_sizes_and_pages_are_the_same_for_every_input(
    tmp_path: Path, seen: list[Call], make_plan: Callable[[], Plan], spills: bool
) -> None:
    key = uc.ProviderKey.generate()
    plan = make_plan()
    sealed = uc.seal("unused", tmp_path / "x.sealed", plan=plan, signing_key=key)
    device = HostDevice("host:?arena=4MiB", private_key=bytes(range(1, 33)))
    permit = uc.issue_license(
        model_key=sealed.model_key,
        device=DevicePublicKey.from_cose_key(device.device_key()),
        signing_key=key,
    )
    model = device.load(sealed.path, permit)
    patterns = []
    for inputs in inputs_of(plan.inputs):
        seen.clear()
        model.infer(inputs)
        patterns.append(list(seen))
    model.close()
    device.close()
    assert all(pattern == patterns[0] for pattern in patterns)
    # Each streamed page once, in the order of the file.
    first = sealed.header.program_pages + sealed.header.resident_pages
    assert pages(patterns[0], Command.PUSH) == list(
        range(first, sealed.header.page_count)
    )
    # What leaves returns.
    left = pages(patterns[0], Command.SPILL)
    assert bool(left) == (plan.spilled_bytes > 0) == spills
    assert set(pages(patterns[0], Command.FILL)) == set(left)


def pages(pattern: list[Call], asked: Command) -> list[int]:
    return [
        page
        for command, (start, count), _, _ in pattern
        if command is asked
        for page in range(start, start + count)
    ]
