# SPDX-License-Identifier: Apache-2.0
"""Secure storage put back to what it was on an earlier day.

Asset: counts, floors, revocations and time of a device.
Attack: one file of an earlier day put back, removed, or cut; all files put back.
Defence: OP-TEE authenticates its files, and counters lie in the object of the device's
    key, so that who damages them loses the key. Without RPMB nothing tells an earlier
    day from today: putting back ALL files works, as docs/security-model.md says, and
    the test holds exactly that.
Invariant: 2
Runs on: host, board
Also: tests/attacks/test_spill_replay.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

import undercroft as uc
from helpers import attacked, guest
from helpers.attacked import (
    HOST_KEY,
    Attacked,
    assert_next_is_right,
    load,
)
from helpers.trial import STORAGE, Trial, refused, trial_in
from undercroft._spec import Status
from undercroft.errors import Error, LicenseError
from undercroft.update import issue_update


@pytest.mark.engine
def test_the_host_engine_keeps_its_state_in_plain_sight(
    goods: Attacked, tmp_path: Path
) -> None:
    """What is not prevented there: an earlier file gives its counts back."""
    state = tmp_path / "device.state"
    permit = goods.licensed(HOST_KEY.public, max_inferences=2)
    with attacked.host(state) as device:
        device.update(issue_update(signing_key=attacked.PROVIDER))
    early = state.read_bytes()
    for _ in range(2):
        state.write_bytes(early)
        with attacked.host(state) as device:
            model = load(device, goods, permit)
            for _ in range(2):
                assert_next_is_right(device, goods, model)
            with pytest.raises(LicenseError) as caught:
                model.infer([goods.input])
            assert caught.value.status == Status.USED_UP
            model.close()
            assert_next_is_right(device, goods)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return trial_in(tmp_path_factory.mktemp("rollback"))


@pytest.mark.board
@pytest.mark.timeout(900)
def test_all_files_of_an_earlier_day_are_told_apart_only_by_their_anchor(
    trial: Trial,
) -> None:
    key = uc.ProviderKey.generate()
    early = issue_update(signing_key=key, version=1)
    late = issue_update(signing_key=key, version=2)
    permit = trial.license(max_inferences=3)
    trial.device().update(early)
    guest.sh(f"sync; cp -a {STORAGE} /tmp/early")
    for _ in range(2):
        trial.device().update(late)
        assert refused(trial.device().update, early) == Status.OUTDATED_UPDATE
        with trial.open(permit) as session:
            for _ in range(3):
                trial.run(session)
            assert refused(trial.run, session) == Status.USED_UP
        assert refused(trial.open, permit) == Status.USED_UP
        # All files of the earlier day: floors and counts are those of that day.
        guest.sh(f"rm -rf /tmp/late; cp -a {STORAGE} /tmp/late")
        guest.sh(f"cp -a /tmp/early/. {STORAGE}/")
        trial.device().update(early)
    guest.sh(f"cp -a /tmp/late/. {STORAGE}/; rm -rf /tmp/early /tmp/late")
    assert refused(trial.device().update, early) == Status.OUTDATED_UPDATE
    assert refused(trial.open, permit) == Status.USED_UP
    trial.assert_next_is_right()


@pytest.mark.board
@pytest.mark.attacks
@pytest.mark.timeout(900)
def test_one_file_of_an_earlier_day_costs_the_device_its_key(trial: Trial) -> None:
    key = uc.ProviderKey.generate()
    early = issue_update(signing_key=key, version=1)
    late = issue_update(signing_key=key, version=2)
    permit = trial.license()
    before = trial.device().device_key()
    trial.device().update(early)
    guest.sh(f"sync; cp -a {STORAGE} /tmp/early")
    trial.device().update(late)
    guest.sh(f"sync; cp -a {STORAGE} /tmp/late")
    files = guest.sh("cd /tmp/late && find . -type f").split()
    assert len(files) >= 2
    outcomes = {}
    for name in files:
        for how in (
            f"cp -a /tmp/early/{name} {STORAGE}/{name}",
            f"rm {STORAGE}/{name}",
            f"truncate -s 100 {STORAGE}/{name}",
        ):
            guest.sh(how)
            try:
                trial.device().update(early)
                taken = True
            except Error:
                taken = False
            try:
                now = trial.device().device_key()
            except Error:
                now = b""
            try:
                trial.open(permit).close()
                opened = True
            except Error:
                opened = False
            outcomes[how] = (taken, now == before, opened)
            guest.sh(f"rm -rf {STORAGE}/*; cp -a /tmp/late/. {STORAGE}/")
    print(outcomes)
    guest.sh("rm -rf /tmp/early /tmp/late")
    for how, (taken, same_key, opened) in outcomes.items():
        # A device with another key is another device.
        assert not (opened and not same_key), how
        # With the key of before nothing is forgotten, but in one way that is not
        # prevented: OP-TEE's files hold two versions of each block, so that its
        # directory of an earlier moment fits the files of today one write back.
        if how != f"cp -a /tmp/early/./dirf.db {STORAGE}/./dirf.db":
            assert not (taken and same_key), how
    assert trial.device().device_key() == before
    assert refused(trial.device().update, early) == Status.OUTDATED_UPDATE
    trial.assert_next_is_right()
