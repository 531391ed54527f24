# SPDX-License-Identifier: Apache-2.0
"""One sealed network for the host engine, one for the board, shared by all attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from helpers import attacked, guest
from helpers.attacked import Attacked, Batch, Call
from undercroft._device.host import HostDevice


@pytest.fixture(scope="session")
def goods(tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    """The network, licensed to the host engine's device."""
    return attacked.ship(tmp_path_factory.mktemp("attacked"), attacked.HOST_KEY.public)


@pytest.fixture(scope="session")
def calls(goods: Attacked) -> list[Call]:
    """Every call of an honest session."""
    return attacked.honest_calls(goods)


@pytest.fixture
def host() -> Iterator[HostDevice]:
    """The host engine."""
    with attacked.host() as device:
        yield device


@pytest.fixture(scope="session")
def board_goods(tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    """The network, licensed to the tests' board, which is up."""
    guest.up()
    folder = tmp_path_factory.mktemp("attacked_board")
    return attacked.ship(folder, attacked.board_device_key())


@pytest.fixture
def batch(board_goods: Attacked, calls: list[Call]) -> Callable[[], Batch]:
    """Makes batches of calls to the board, a session `s` opened."""

    def make() -> Batch:
        made = Batch(board_goods, calls)
        made.steps.open()
        return made

    return make
