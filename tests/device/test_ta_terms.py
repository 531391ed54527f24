# SPDX-License-Identifier: Apache-2.0
"""Conditions of licenses in the Trusted Application, over its secure storage."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import undercroft as uc
from helpers import guest, onnx_nets
from undercroft import _board
from undercroft._device.http import BoardDevice, open_board
from undercroft._spec import Status
from undercroft.errors import DeviceError, LicenseError
from undercroft.keys import DevicePublicKey
from undercroft.update import Revocation, issue_update

pytestmark = [pytest.mark.board, pytest.mark.timeout(900)]
STORAGE = "/var/lib/optee-client/data/tee"


@dataclass
class Trial:
    """A provider's model for the board."""

    key: uc.ProviderKey
    sealed: dict[int, Path]
    model_id: bytes
    inputs: dict[str, np.ndarray[Any, np.dtype[np.float32]]]
    model_key: uc.ModelKey

    def device(self) -> BoardDevice:
        return open_board(f"board:{guest.BOARD_NAME}")

    def license(self, **terms: Any) -> bytes:
        device = self.device()
        return uc.issue_license(
            model_key=self.model_key,
            device=DevicePublicKey.from_cose_key(device.device_key()),
            signing_key=self.key,
            terms=uc.LicenseTerms(**terms),
        )

    def open(self, permit: bytes, version: int = 1) -> uc.InferenceSession:
        return uc.InferenceSession(
            self.sealed[version], license=permit, device=self.device()
        )

    def run(self, session: uc.InferenceSession) -> None:
        session.run(None, self.inputs)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    guest.up()
    folder = tmp_path_factory.mktemp("terms")
    case = onnx_nets.case("mobile_network")
    key = uc.ProviderKey.generate()
    plan = uc.plan(case.model, budget="1MiB", page_bytes=4096)
    uc.ModelKey.generate().save(folder / "model.key")
    sealed = {}
    for version in (1, 2, 3):
        sealed[version] = folder / f"{version}.sealed"
        done = uc.seal(
            case.model,
            sealed[version],
            plan=plan,
            signing_key=key,
            key_file=folder / "model.key",
            model_version=version,
        )
    return Trial(
        key,
        sealed,
        done.model_key.model_id,
        onnx_nets.random_inputs(case),
        done.model_key,
    )


def refused(call: Any, *arguments: Any) -> Status:
    with pytest.raises(LicenseError) as caught:
        call(*arguments)
    return Status(caught.value.status)


def kill_the_agent() -> None:
    """End the client at once, as a crash would; it is started again."""
    guest.sh("kill -9 $(pidof python3)")
    deadline = time.monotonic() + 120
    while True:
        time.sleep(1)
        try:
            open_board(f"board:{guest.BOARD_NAME}").info()
        except DeviceError:
            assert time.monotonic() < deadline
        else:
            return


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


def test_time_tokens_and_expiry(trial: Trial) -> None:
    permit = trial.license(expires=2_100_000_000)
    assert refused(trial.open, permit) == Status.NO_TIME
    trial.device().update(issue_update(signing_key=trial.key))
    with trial.open(permit) as session:
        trial.run(session)
    trial.device().update(issue_update(signing_key=trial.key, issued_at=2_100_000_000))
    assert refused(trial.open, permit) == Status.EXPIRED
    guest.sh("date -s 2020-01-01")
    assert refused(trial.open, permit) == Status.EXPIRED
    _board.down(guest.BOARD_NAME)
    guest.up()
    assert refused(trial.open, permit) == Status.EXPIRED


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


def test_versions_and_revocations(trial: Trial) -> None:
    permit = trial.license()
    trial.open(permit, 3).close()
    assert refused(trial.open, permit, 2) == Status.MODEL_TOO_OLD
    session = trial.open(permit, 3)
    trial.device().update(
        issue_update(
            signing_key=trial.key,
            version=1,
            revocations=[Revocation(trial.model_id, 2**32 - 1)],
        )
    )
    assert refused(trial.run, session) == Status.REVOKED
    session.close()
    assert refused(trial.open, permit, 3) == Status.REVOKED


def test_storage_of_an_earlier_day_is_told_apart_only_by_its_anchor(
    trial: Trial,
) -> None:
    """One file put back is noticed; all of them are not, without RPMB."""
    key = uc.ProviderKey.generate()
    early = issue_update(signing_key=key, version=1)
    late = issue_update(signing_key=key, version=2)
    trial.device().update(early)
    guest.sh(f"sync; cp -a {STORAGE} /tmp/early")
    trial.device().update(late)
    assert refused(trial.device().update, early) == Status.OUTDATED_UPDATE
    # All files of the earlier day: the update that was outdated is taken.
    guest.sh(f"cp -a {STORAGE} /tmp/late && cp -a /tmp/early/. {STORAGE}/")
    trial.device().update(early)
    guest.sh(f"cp -a /tmp/late/. {STORAGE}/; rm -rf /tmp/early /tmp/late")
    assert refused(trial.device().update, early) == Status.OUTDATED_UPDATE
