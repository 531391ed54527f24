# SPDX-License-Identifier: Apache-2.0
"""A provider's model on the tests' board, over the board's agent as an app uses it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import undercroft as uc
from helpers import guest, onnx_nets
from helpers.attacked import assert_right
from undercroft._device.http import BoardDevice, open_board
from undercroft._spec import Status
from undercroft.errors import DeviceError, LicenseError
from undercroft.keys import DevicePublicKey

STORAGE = "/var/lib/optee-client/data/tee"
"""Where the board's supplicant keeps OP-TEE's files."""


@dataclass
class Trial:
    """A provider's model for the board."""

    key: uc.ProviderKey
    sealed: dict[int, Path]
    model_id: bytes
    inputs: dict[str, np.ndarray[Any, np.dtype[np.float32]]]
    expected: list[np.ndarray[Any, np.dtype[np.float32]]]
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
        """Infer; the answer must be onnxruntime's."""
        assert_right(session.run(None, self.inputs), self.expected)

    def assert_next_is_right(self, version: int = 1) -> None:
        """Hold that the next honest inference gives the right answer."""
        with self.open(self.license(), version) as session:
            self.run(session)


def trial_in(folder: Path) -> Trial:
    """Seal a network three times, as versions 1 to 3, for the board, which is up."""
    guest.up()
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
    inputs = onnx_nets.random_inputs(case)
    runtime = onnxruntime.InferenceSession(case.model.SerializeToString())
    return Trial(
        key=key,
        sealed=sealed,
        model_id=done.model_key.model_id,
        inputs=inputs,
        expected=runtime.run(None, inputs),
        model_key=done.model_key,
    )


def refused(call: Any, *arguments: Any) -> Status:
    """The status with which a license is refused."""
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
