# SPDX-License-Identifier: Apache-2.0
"""The agent's loaded models: sessions with the secure side, by name.

Everything here runs in the agent's one worker thread, so requests for a model,
and for the device as a whole, happen one after the other in the order they came.
The secure side computes one at a time anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from undercroft._device.faults import RequestError
from undercroft.errors import DeviceLostError, Error, SecureMemoryError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from undercroft._device.base import Device, LoadedModel
    from undercroft._device.records import DeviceInfo, Stats
    from undercroft._device.store import ModelStore, Version


_T = TypeVar("_T")


@dataclass(slots=True)
class _Entry:
    model: LoadedModel
    version: Version
    evictable: bool
    last_used: int


class ModelPool:
    """Loads, runs and unloads the store's models on one device."""

    def __init__(self, device: Device, store: ModelStore) -> None:
        self._device = device
        self._store = store
        self._entries: dict[str, _Entry] = {}
        self._reasons: dict[str, str] = {}
        self._uses = 0

    @property
    def loaded(self) -> set[str]:
        """Names of the loaded models; may be read from any thread."""
        return set(self._entries)

    def reason(self, name: str) -> str:
        """Why a model is not ready, or an empty string."""
        return self._reasons.get(name, "")

    def info(self) -> DeviceInfo:
        """Ask the device what it is."""
        return self._device.info()

    def device_key(self) -> bytes:
        """The device's public key, an encoded COSE_Key."""
        return self._device.device_key()

    def attest(self, nonce: bytes) -> bytes:
        """The device's evidence for a challenge."""
        return self._device.attest(nonce)

    def update(self, update_bytes: bytes) -> None:
        """Hand a provider's update to the device."""
        self._device.update(update_bytes)

    def load(self, name: str, *, evictable: bool) -> None:
        """Load a model, or again when its files have changed since.

        Where secure memory is short, evictable models are unloaded, the one
        used longest ago first.

        Raises:
            Error: it cannot be loaded; `reason` keeps why.
        """
        version = self._store.version(name)
        entry = self._entries.get(name)
        if entry is not None and entry.version == version:
            entry.evictable = entry.evictable and evictable
            return
        if entry is not None:
            self._close(name)
        try:
            model = self._load(name)
        except Error as error:
            self._reasons[name] = error.message
            raise
        self._reasons.pop(name, None)
        self._entries[name] = _Entry(model, version, evictable, self._tick())

    def unload(self, name: str) -> None:
        """Unload a model; one that is not loaded stays so."""
        self._reasons.pop(name, None)
        self._close(name)

    def infer(
        self, name: str, inputs: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[dict[str, npt.NDArray[np.float32]], Stats]:
        """Run one inference.

        Raises:
            RequestError: the model is not loaded.
            Error: the inference failed; the next one works.
        """
        outputs, stats = self._on_model(name, lambda model: model.infer(inputs))
        return self._named(name, outputs), stats

    def ask(
        self, name: str, question: bytes, inputs: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[bytes, dict[str, npt.NDArray[np.float32]], Stats]:
        """Run the inference of a question, with the inputs that are not in it.

        Returns:
            The sealed answer and no outputs, or no bytes and the outputs.

        Raises:
            RequestError: the model is not loaded.
            Error: the inference failed; the next one works.
        """
        answer, stats = self._on_model(name, lambda model: model.ask(question, inputs))
        outputs = {} if answer.sealed else self._named(name, answer.outputs)
        return answer.sealed, outputs, stats

    def close(self) -> None:
        """Unload everything."""
        for name in list(self._entries):
            self._close(name)
        self._device.close()

    def _on_model(
        self, name: str, infer: Callable[[LoadedModel], tuple[_T, Stats]]
    ) -> tuple[_T, Stats]:
        entry = self._entries.get(name)
        if entry is None:
            raise RequestError(
                HTTPStatus.CONFLICT,
                f"model {name!r} is not loaded",
                hint=f"POST to /v2/repository/models/{name}/load",
            )
        entry.last_used = self._tick()
        try:
            return infer(entry.model)
        except DeviceLostError as error:
            # The session died with the Trusted Application.
            self._close(name)
            self._reasons[name] = error.message
            raise

    def _named(
        self, name: str, outputs: Sequence[npt.NDArray[np.float32]]
    ) -> dict[str, npt.NDArray[np.float32]]:
        names = [info.name for info in self._entries[name].model.outputs]
        return dict(zip(names, outputs, strict=True))

    def _load(self, name: str) -> LoadedModel:
        parcel = self._store.parcel(name)
        license_bytes = self._store.license(name)
        while True:
            try:
                return self._device.load(parcel.path, license_bytes)
            except SecureMemoryError:
                if not self._evict_one(parcel.header.budget_bytes):
                    raise

    def _evict_one(self, needed_bytes: int) -> bool:
        """Unload the evictable model used longest ago, if that can help."""
        if needed_bytes > self._device.info().arena_bytes:
            return False
        candidates = [
            (entry.last_used, name)
            for name, entry in self._entries.items()
            if entry.evictable
        ]
        if not candidates:
            return False
        _, name = min(candidates)
        self._close(name)
        self._reasons[name] = "unloaded to make room in secure memory"
        return True

    def _close(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            with suppress(Error):
                entry.model.close()

    def _tick(self) -> int:
        self._uses += 1
        return self._uses
