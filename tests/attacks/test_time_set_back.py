# SPDX-License-Identifier: Apache-2.0
"""Time set back, so that a license does not end.

Asset: the provider's terms: until when.
Attack: an older time token after a newer one; the normal world's clock set back; the
    device restarted, so that its own clock begins anew.
Defence: time comes from signed tokens alone and never goes back; the device's own clock
    only adds to it.
Invariant: 1, 2
Runs on: host, board
Also: tests/engine/test_terms.c, tests/device/test_terms_engine.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import attacked, guest
from helpers.attacked import (
    HOST_KEY,
    OTHER_PROVIDER,
    PROVIDER,
    Attacked,
    assert_next_is_right,
    load,
)
from helpers.trial import Trial, refused, trial_in
from undercroft import _board
from undercroft._spec import Status
from undercroft.errors import LicenseError
from undercroft.update import issue_update

END = 1_900_000_000


@pytest.mark.engine
def test_no_older_word_makes_it_earlier(goods: Attacked, tmp_path: Path) -> None:
    permit = goods.licensed(HOST_KEY.public, expires=END)
    state = tmp_path / "device.state"
    with attacked.host(state) as device:
        device.update(issue_update(signing_key=PROVIDER, issued_at=END - 60))
        assert_next_is_right(device, goods, load(device, goods, permit))
        device.update(issue_update(signing_key=PROVIDER, issued_at=END))
    # A device that restarts knows what it was told.
    for _ in range(2):
        with attacked.host(state) as device:
            # An older word of the provider's, and another provider's.
            device.update(issue_update(signing_key=PROVIDER, issued_at=END - 60))
            device.update(issue_update(signing_key=OTHER_PROVIDER, issued_at=1))
            with pytest.raises(LicenseError) as caught:
                load(device, goods, permit)
            assert caught.value.status == Status.EXPIRED
            assert_next_is_right(device, goods)


@pytest.mark.board
@pytest.mark.timeout(900)
def test_time_tokens_and_expiry(tmp_path: Path) -> None:
    trial: Trial = trial_in(tmp_path)
    permit = trial.license(expires=2_100_000_000)
    assert refused(trial.open, permit) == Status.NO_TIME
    trial.device().update(issue_update(signing_key=trial.key))
    with trial.open(permit) as session:
        trial.run(session)
    trial.device().update(issue_update(signing_key=trial.key, issued_at=2_100_000_000))
    assert refused(trial.open, permit) == Status.EXPIRED
    trial.device().update(issue_update(signing_key=trial.key))
    guest.sh("date -s 2020-01-01")
    assert refused(trial.open, permit) == Status.EXPIRED
    _board.down(guest.BOARD_NAME)
    guest.up()
    assert refused(trial.open, permit) == Status.EXPIRED
    trial.assert_next_is_right()
