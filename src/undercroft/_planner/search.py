# SPDX-License-Identifier: Apache-2.0
"""Which operators run in bands, for several limits on the activations at once.

For a limit, dynamic programming over the cut points of the order finds the
cheapest schedule whose every segment stays below it. What the activations do
not need goes to resident weights, so a lower limit costs bands and saves
decryption: the planner tries limits from the lowest possible to that of whole
operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from undercroft._planner import cost
from undercroft._planner.runs import Run, Runs

__all__ = ["Choice", "Schedule", "least_peak", "schedules"]

_LIMITS: Final = 16

Choice = tuple[int, int, int]
"""First operator, position after the last, rows of a band; 0 rows: whole."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule and what is expected of it.

    Attributes:
        choices: Its segments.
        limit_bytes: The activations stay below this.
        cost: Instructions beyond those of whole operators with all weights
            resident; an estimate.
    """

    choices: tuple[Choice, ...]
    limit_bytes: int
    cost: float


def least_peak(found: Runs) -> int:
    """Return the lowest limit for which there is a schedule."""
    best = [0]
    for stop in range(1, len(found.by_stop)):
        least = max(best[stop - 1], found.whole_bytes[stop - 1])
        for run in found.by_stop[stop]:
            least = min(least, max(best[run.start], int(run.peak_bytes.min())))
        best.append(least)
    return best[-1]


def schedules(
    found: Runs,
    spare_bytes: int | None,
    weights_bytes: int,
    decrypt: float,
    limits: Sequence[int] | None = None,
) -> list[Schedule]:
    """Return the cheapest schedule for each of several limits.

    Args:
        found: The candidates.
        spare_bytes: The budget without what is needed in any case; None for
            any amount.
        weights_bytes: All weights of the network.
        decrypt: Instructions to decrypt a byte.
        limits: The limits to try; some between the lowest and the highest that
            make a difference, without.
    """
    least, most = least_peak(found), max(found.whole_bytes)
    if limits is None:
        top = most if spare_bytes is None else max(least, min(most, spare_bytes))
        limits = sorted(
            {int(x) // 64 * 64 for x in np.geomspace(least, top, _LIMITS)}
            | {least, top}
        )
        limits = [limit for limit in limits if limit >= least]
    array = np.array(limits, np.int64)
    room = np.full(len(array), 1 << 40) if spare_bytes is None else spare_bytes - array
    scarce = room < weights_bytes
    count = len(found.whole_bytes)
    best = np.full((count + 1, len(array)), np.inf)
    best[0] = 0.0
    back: list[list[Choice]] = [[] for _ in range(count + 1)]
    for stop in range(1, count + 1):
        whole = np.where(found.whole_bytes[stop - 1] <= array, best[stop - 1], np.inf)
        best[stop] = whole + cost.RECORD_INSTRUCTIONS
        back[stop] = [(stop - 1, stop, 0)] * len(array)
        for run in found.by_stop[stop]:
            costs = _run_costs(run, array, room, scarce, decrypt)
            heights = costs.argmin(axis=0)
            total = best[run.start] + costs.min(axis=0)
            for i in np.nonzero(total < best[stop])[0].tolist():
                best[stop][i] = total[i]
                back[stop][i] = (run.start, stop, int(run.heights[heights[i]]))
    result: list[Schedule] = []
    for i, limit in enumerate(limits):
        if not np.isfinite(best[count][i]):
            continue
        choices: list[Choice] = []
        stop = count
        while stop:
            choices.append(back[stop][i])
            stop = choices[-1][0]
        streamed = max(0, weights_bytes - max(0, int(room[i])))
        result.append(
            Schedule(
                tuple(reversed(choices)),
                limit,
                float(best[count][i]) + decrypt * streamed,
            )
        )
    return result


def _run_costs(
    run: Run,
    limits: npt.NDArray[np.int64],
    room: npt.NDArray[np.int64],
    scarce: npt.NDArray[np.bool_],
    decrypt: float,
) -> npt.NDArray[np.float64]:
    """Return the cost of a run for each height and each limit."""
    slack = limits[None, :] - run.peak_bytes[:, None]
    held = np.clip(slack, 0, run.weights_bytes)
    repeated = run.weights_bytes + run.unheld_bytes - held
    # Repeated weights are the first to stay resident, in the place of others.
    again = np.where(
        repeated <= room[None, :] // 2,
        np.where(scarce[None, :], repeated, 0),
        repeated * (run.counts[:, None] - 1),
    )
    total = run.cost[:, None] + decrypt * again + held * cost.MOVE_INSTRUCTIONS_PER_BYTE
    total = total + np.where(scarce[None, :], decrypt * run.record_bytes[:, None], 0.0)
    return np.where(slack >= 0, total, np.inf)
