# SPDX-License-Identifier: Apache-2.0
"""More use than a license allows.

Asset: the provider's terms: who may infer, how often, how fast, until when.
Attack: a license of another device or model, expired, not yet valid, over its count,
    over its rate, revoked; sessions left open, clients killed, the board switched off.
Defence: the wrapped key opens on one device only; counts are written before they are
    used, a batch at a time, in the object that holds the device's key.
Invariant: 1, 2
Runs on: host, board
Also: tests/engine/test_terms.c, tests/device/test_terms_engine.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import undercroft as uc
from helpers import attacked, guest
from helpers.attacked import (
    HOST_KEY,
    OTHER_DEVICE,
    PROVIDER,
    Attacked,
    Batch,
    assert_next_is_right,
    load,
    status,
)
from helpers.trial import Trial, kill_the_agent, refused, trial_in
from undercroft import _board
from undercroft._device.host import HostDevice
from undercroft._spec import Command, Status
from undercroft.errors import LicenseError
from undercroft.keys import ModelKey
from undercroft.update import Revocation, issue_update

NOW = 1_900_000_000


@pytest.fixture
def told(tmp_path: Path) -> Iterator[HostDevice]:
    """A host engine of its own storage, which knows the time."""
    with attacked.host(tmp_path / "device.state") as device:
        device.update(issue_update(signing_key=PROVIDER, issued_at=NOW))
        yield device


# What a license says, and what becomes of it.
NEVER_OPENED: dict[str, tuple[dict[str, Any], Status]] = {
    "expired": ({"expires": NOW - 1}, Status.EXPIRED),
    "expired-this-second": ({"expires": NOW}, Status.EXPIRED),
    "future": ({"not_before": NOW + 3600}, Status.NOT_YET_VALID),
    "wants-an-update": ({"update_floor": 1}, Status.UPDATE_NEEDED),
    "wants-a-newer-model": ({"version_floor": 2}, Status.MODEL_TOO_OLD),
}


@pytest.mark.engine
@pytest.mark.parametrize("name", NEVER_OPENED)
def test_what_a_license_says_is_kept(
    told: HostDevice, goods: Attacked, name: str
) -> None:
    terms, expected = NEVER_OPENED[name]
    with pytest.raises(LicenseError) as caught:
        load(told, goods, goods.licensed(HOST_KEY.public, **terms))
    assert caught.value.status == expected
    assert_next_is_right(told, goods)


@pytest.mark.engine
def test_a_license_of_another_device_or_model(
    told: HostDevice, goods: Attacked
) -> None:
    other_model = uc.issue_license(
        model_key=ModelKey.generate(),
        device=HOST_KEY.public,
        signing_key=PROVIDER,
    )
    for permit, expected in (
        (goods.licensed(OTHER_DEVICE.public), Status.WRONG_DEVICE),
        (other_model, Status.WRONG_MODEL),
    ):
        with pytest.raises(LicenseError) as caught:
            load(told, goods, permit)
        assert caught.value.status == expected
        assert_next_is_right(told, goods)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("terms", "expected"),
    [({"max_inferences": 3}, Status.USED_UP), ({"rate": (3, 86400)}, Status.RATE)],
    ids=["count", "rate"],
)
def test_three_inferences_and_no_fourth_however_they_are_asked_for(
    told: HostDevice, goods: Attacked, terms: dict[str, Any], expected: Status
) -> None:
    permit = goods.licensed(HOST_KEY.public, **terms)
    models = [load(told, goods, permit) for _ in range(2)]
    model = models[0]
    for _ in range(3):
        assert_next_is_right(told, goods, model)
    for other in models:
        with pytest.raises(LicenseError) as caught:
            other.infer([goods.input])
        assert caught.value.status == expected
    for other in models:
        other.close()
    assert_next_is_right(told, goods)


@pytest.mark.engine
def test_a_license_that_is_revoked_in_the_middle(
    told: HostDevice, goods: Attacked
) -> None:
    permit = goods.licensed(HOST_KEY.public)
    model = load(told, goods, permit)
    assert_next_is_right(told, goods, model)
    revocation = Revocation(goods.model_key.model_id, 2**32 - 1)
    told.update(
        issue_update(
            signing_key=PROVIDER, version=1, revocations=[revocation], issued_at=NOW
        )
    )
    with pytest.raises(LicenseError) as caught:
        model.infer([goods.input])
    assert caught.value.status == Status.REVOKED
    model.close()
    with pytest.raises(LicenseError) as caught:
        load(told, goods, permit)
    assert caught.value.status == Status.REVOKED
    # A device that was not told goes on.
    with attacked.host() as another:
        assert_next_is_right(another, goods)


# ---- the board ----


@pytest.mark.board
@pytest.mark.timeout(900)
def test_licenses_that_never_open_on_the_board(
    batch: Callable[[], Batch], board_goods: Attacked
) -> None:
    made = batch()
    device = attacked.board_device_key()
    licenses = {
        "other device": (
            board_goods.licensed(OTHER_DEVICE.public),
            Status.WRONG_DEVICE,
        ),
        "other model": (
            uc.issue_license(
                model_key=ModelKey.generate(), device=device, signing_key=PROVIDER
            ),
            Status.WRONG_MODEL,
        ),
    } | {
        name: (board_goods.licensed(device, **terms), expected)
        for name, (terms, expected) in NEVER_OPENED.items()
    }
    header = ["in", "@header"]
    made.steps.call(Command.UPDATE, ["value_inout", 0, 0], ["in", "@update"])
    places = {
        name: made.steps.call(
            Command.OPEN,
            ["value_inout", 0, 0],
            header,
            ["in", permit.hex()],
            ["value_output"],
        )
        for name, (permit, _) in licenses.items()
    }
    made.honest()
    answers = made.run()
    for name, place in places.items():
        assert status(answers[place]) == licenses[name][1], name


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return trial_in(tmp_path_factory.mktemp("conditions"))


@pytest.mark.board
@pytest.mark.timeout(900)
def test_counts_survive_crashes_and_restarts(trial: Trial) -> None:
    permit = trial.license(max_inferences=130)
    trial.run(trial.open(permit))
    # A client that is killed has its session closed: what it did not use of
    # its batch is written back.
    kill_the_agent()
    session = trial.open(permit)
    trial.run(session)
    session.close()
    # A board without power closes nothing: the batch is lost, and no
    # inference is given back. 2 and 64 have begun.
    trial.run(trial.open(permit))
    _board.down(guest.BOARD_NAME)
    guest.up()
    session = trial.open(permit)
    for _ in range(64):
        trial.run(session)
    assert refused(trial.run, session) == Status.USED_UP
    session.close()
    assert refused(trial.open, permit) == Status.USED_UP
    trial.assert_next_is_right()


@pytest.mark.board
@pytest.mark.timeout(900)
def test_a_rate_is_not_filled_by_a_restart_of_the_client(trial: Trial) -> None:
    permit = trial.license(rate=(2, 86400))
    session = trial.open(permit)
    trial.run(session)
    trial.run(session)
    assert refused(trial.run, session) == Status.RATE
    kill_the_agent()
    session = trial.open(permit)
    assert refused(trial.run, session) == Status.RATE
    session.close()
    trial.assert_next_is_right()
