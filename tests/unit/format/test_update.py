# SPDX-License-Identifier: Apache-2.0
"""Updates, on the provider's side."""

from __future__ import annotations

import time

import pytest

from helpers.provider import test_key
from undercroft._spec import MAX_UPDATE_BYTES, MAX_UPDATE_ITEMS
from undercroft.errors import FileAccessError, FormatError, VerificationError
from undercroft.keys import ProviderKey
from undercroft.update import (
    Revocation,
    Successor,
    Update,
    VersionFloor,
    issue_update,
)

KEY = ProviderKey.from_seed(test_key("provider"))
OTHER = ProviderKey.from_seed(test_key("other_provider"))
MODEL = bytes(range(16))
DEVICE = bytes(range(32))


def test_a_time_token_tells_the_time_and_nothing_else():
    update = Update.parse(issue_update(signing_key=KEY))
    update.verify(KEY.public())
    assert abs(update.issued_at - time.time()) < 3600
    assert update.version is None
    assert update.revocations == update.floors == ()
    assert update.successor is None
    assert len(update.data) < 250


def test_everything_survives_the_way(tmp_path):
    revocations = [Revocation(MODEL, 1000), Revocation(MODEL, 2000, DEVICE)]
    floors = [VersionFloor(MODEL, 3)]
    successor = Successor(OTHER.public(), retire=True)
    path = tmp_path / "1.update"
    path.write_bytes(
        issue_update(
            signing_key=KEY,
            version=7,
            revocations=revocations,
            floors=floors,
            successor=successor,
            issued_at=1_900_000_000,
        )
    )
    update = Update.load(path)
    update.verify()
    assert list(update.revocations) == revocations
    assert list(update.floors) == floors
    assert update.successor == successor
    assert update.inspect() == {
        "issued_at": "2030-03-17T17:46:40+00:00",
        "version": 7,
        "revocations": [
            {
                "model_id": MODEL.hex(),
                "issued_before": "1970-01-01T00:16:40+00:00",
                "device_id": None,
            },
            {
                "model_id": MODEL.hex(),
                "issued_before": "1970-01-01T00:33:20+00:00",
                "device_id": DEVICE.hex(),
            },
        ],
        "floors": [{"model_id": MODEL.hex(), "model_version": 3}],
        "successor": {"key_id": OTHER.key_id.hex(), "retire": True},
        "extensions": {},
        "provider_key_id": KEY.key_id.hex(),
        "update_bytes": len(update.data),
    }


def test_the_most_items_fit():
    update = issue_update(
        signing_key=KEY,
        version=1,
        revocations=[Revocation(MODEL, 2**32 - 1, DEVICE)] * MAX_UPDATE_ITEMS,
        floors=[VersionFloor(MODEL, 2**32 - 1)] * MAX_UPDATE_ITEMS,
        successor=Successor(OTHER.public()),
    )
    assert len(update) < MAX_UPDATE_BYTES


@pytest.mark.parametrize(
    "wrong",
    [
        {"floors": [VersionFloor(MODEL, 1)]},
        {"version": 0},
        {"version": 2**32},
        {"issued_at": 2**32},
        {"version": 1, "floors": [VersionFloor(MODEL, 1)] * (MAX_UPDATE_ITEMS + 1)},
    ],
)
def test_what_devices_would_refuse_is_not_issued(wrong):
    with pytest.raises(FormatError):
        issue_update(signing_key=KEY, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Revocation(MODEL[1:], 1),
        lambda: Revocation(MODEL, 2**32),
        lambda: Revocation(MODEL, 1, DEVICE[1:]),
        lambda: VersionFloor(MODEL[1:], 1),
        lambda: VersionFloor(MODEL, -1),
    ],
)
def test_items_are_checked(wrong):
    with pytest.raises(FormatError):
        wrong()


def test_another_providers_update_is_noticed(tmp_path):
    update = Update.parse(issue_update(signing_key=OTHER))
    with pytest.raises(VerificationError, match="another provider"):
        update.verify(KEY.public())
    with pytest.raises(FormatError, match="1 to"):
        Update.parse(b"")
    with pytest.raises(FileAccessError):
        Update.load(tmp_path / "none.update")
