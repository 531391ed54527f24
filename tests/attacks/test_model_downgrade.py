# SPDX-License-Identifier: Apache-2.0
"""An older, weaker or cheaper version of a model put back.

Asset: the provider's word on which version may run.
Attack: an older sealed file below the floor that a newer one, an update or the license
    has set; the newer file's header with the older one's pages; a floor that cannot be
    written down.
Defence: the first load of a newer version raises the floor in secure storage before the
    model is ready; pages are bound to their header.
Invariant: 1, 4
Runs on: host, board
Also: tests/engine/test_terms.c, tests/device/test_terms_engine.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers import attacked
from helpers.attacked import (
    HOST_KEY,
    PROVIDER,
    Attacked,
    assert_next_is_right,
    load,
    ship,
)
from helpers.trial import refused, trial_in
from undercroft._spec import Status
from undercroft.errors import DeviceError, LicenseError, VerificationError
from undercroft.update import Revocation, VersionFloor, issue_update


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Attacked]:
    folder = tmp_path_factory.mktemp("versions")
    return {n: ship(folder, HOST_KEY.public, version=n) for n in (1, 2, 3)}


@pytest.mark.engine
def test_the_floor_only_rises(versions: dict[int, Attacked], tmp_path: Path) -> None:
    state = tmp_path / "device.state"
    with attacked.host(state) as device:
        assert_next_is_right(device, versions[1])
        assert_next_is_right(device, versions[2])
    with attacked.host(state) as device:
        for _ in range(2):
            with pytest.raises(LicenseError) as caught:
                load(device, versions[1])
            assert caught.value.status == Status.MODEL_TOO_OLD
            assert caught.value.detail == 2
        floor = VersionFloor(versions[1].model_key.model_id, 3)
        device.update(issue_update(signing_key=PROVIDER, version=1, floors=[floor]))
        with pytest.raises(LicenseError) as caught:
            load(device, versions[2])
        assert caught.value.detail == 3
        assert_next_is_right(device, versions[3])


@pytest.mark.engine
def test_pages_of_an_older_version_below_a_newer_header(
    versions: dict[int, Attacked], host: attacked.HostDevice, tmp_path: Path
) -> None:
    old, new = versions[1], versions[2]
    path = tmp_path / "mixed.sealed"
    start = len(new.path.read_bytes()) - len(new.pages) * new.slot_bytes
    for index in range(len(new.pages)):
        pages = list(new.pages)
        pages[index] = old.pages[index]
        path.write_bytes(new.path.read_bytes()[:start] + b"".join(pages))
        with pytest.raises(VerificationError):
            host.load(path, new.license).infer([new.input])
    assert_next_is_right(host, new)


@pytest.mark.engine
def test_a_version_that_cannot_be_written_down_is_not_loaded(
    versions: dict[int, Attacked], tmp_path: Path
) -> None:
    folder = tmp_path / "storage"
    folder.mkdir()
    with attacked.host(folder / "device.state") as device:
        assert_next_is_right(device, versions[1])
        shutil.move(folder, tmp_path / "gone")
        with pytest.raises(DeviceError) as caught:
            load(device, versions[2])
        assert caught.value.status == Status.STORAGE
        shutil.move(tmp_path / "gone", folder)
        assert_next_is_right(device, versions[1])


@pytest.mark.board
@pytest.mark.timeout(900)
def test_versions_and_revocations_on_the_board(tmp_path: Path) -> None:
    trial = trial_in(tmp_path)
    permit = trial.license()
    trial.open(permit, 3).close()
    assert refused(trial.open, permit, 2) == Status.MODEL_TOO_OLD
    trial.assert_next_is_right(3)
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
    # What another provider sealed is not concerned.
    folder = tmp_path / "other"
    folder.mkdir()
    trial_in(folder).assert_next_is_right()
