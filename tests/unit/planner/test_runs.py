# SPDX-License-Identifier: Apache-2.0
"""What the search estimates of runs in bands, against those runs made exact."""

from __future__ import annotations

import pytest

from helpers.graphs import GraphNet
from undercroft._planner import prepared
from undercroft._planner.assemble import outside_bytes
from undercroft._planner.groups import band_segment
from undercroft._planner.lives import lifetimes
from undercroft._planner.runs import runs
from undercroft.errors import BudgetExceededError


def pyramid() -> tuple[GraphNet, int]:
    """A row of the last result needs nearly all rows of the first."""
    net = GraphNet(3, 160, 8)
    x = 0
    for stage in range(5):
        x = net.conv(net.conv(x, 16 << stage // 2, 3, 2), 16 << stage // 2)
    return net, net.conv(x, 16, 3)


def test_low_bands_do_not_make_the_first_one_low() -> None:
    net, last = pyramid()
    ready = prepared(net.graph(last)).net
    lives = lifetimes(ready)
    tried = 0
    for ending in runs(ready, lives, 0, 1 << 62).by_stop:
        for run in ending:
            for height, peak_bytes in zip(run.heights, run.peak_bytes, strict=True):
                made = band_segment(ready, lives, run.start, run.stop, int(height))
                outside = outside_bytes(ready, lives, run.start, run.stop)
                exact = outside + made.workspace_bytes
                assert 0.6 < exact / peak_bytes < 1.6, (run.start, run.stop, height)
                tried += 1
    assert tried > 300


@pytest.mark.parametrize("share", [0.9, 0.75, 0.5])
def test_less_than_the_least_does_not_do(share: float) -> None:
    net, last = pyramid()
    with pytest.raises(BudgetExceededError) as refused:
        net.plan(last, budget=1)
    least = refused.value.needed_bytes
    assert net.plan(last, budget=least).arena_bytes <= least
    with pytest.raises(BudgetExceededError) as refused:
        net.plan(last, budget=int(share * least))
    assert refused.value.needed_bytes == least
