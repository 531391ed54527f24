# SPDX-License-Identifier: Apache-2.0
"""`InferenceSession`: a sealed model, used as onnxruntime's session is.

::

    with uc.InferenceSession("model.sealed", license="device.license") as session:
        print(session.get_inputs()[0].shape)
        scores = session.run(["scores"], {"image": image})[0]
        print(session.last_stats.decrypted_bytes)

With `private=True` inputs and outputs are sealed between this process and the secure
world (`undercroft.private`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from undercroft._device.base import LoadedModel
from undercroft._device.records import DeviceInfo, Stats
from undercroft._feeds import checked_inputs, quoted
from undercroft._format.files import read_small_file
from undercroft._spec import MAX_LICENSE_BYTES
from undercroft.errors import DeviceLostError, DeviceStateError, InputError
from undercroft.tensor import TensorInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft._device.base import Device
    from undercroft.private import Asker

__all__ = ["DeviceInfo", "InferenceSession", "Stats"]

DEFAULT_DEVICE = "board:"
_T = TypeVar("_T")


class InferenceSession:
    """A sealed model, loaded on a device.

    The methods are those of `onnxruntime.InferenceSession`. A session holds
    secure memory until it is closed. After a failed run the next one works; when
    the device was lost in between, the next run loads the model again.

    Not safe for use by several threads at once.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        license: Path | str | bytes,  # noqa: A002 the word the whole product uses
        device: str | Device = DEFAULT_DEVICE,
        keep_on_device: bool = True,
        private: bool | Asker = False,
    ) -> None:
        """Load a sealed model.

        Args:
            path: the sealed file.
            license: the license for this device: a file, or its bytes.
            device: `board:` (the emulated board, started when needed), `tee:`
                (the TEE of this machine), `http://HOST:PORT` (an agent), or `host:`
                (this process, WITHOUT any protection). An open device is used as
                it is and stays open.
            keep_on_device: leave the sealed file on a device behind an agent, so
                that the next session with it starts quickly.
            private: seal the inputs of `run` to the device and its outputs to
                this process, which then is the asker: for a device behind an
                agent. True takes the device's key by the word of the license,
                whose signature is verified; an `Asker` has its own.

        Raises:
            FileAccessError: a file cannot be read.
            FormatError: not a sealed file, or not a license.
            LicenseError: the license is for another device, model or provider.
            VerificationError: something was altered, or the device's key is not
                the one that the license names.
            SecureMemoryError: the device has too little secure memory free.
            DeviceError: the device refuses or cannot be reached.
            HarnessError: the emulated board does not come up.
        """
        from undercroft._device import open_device

        self._path = Path(path)
        self._license = _license_bytes(license)
        self._owns_device = isinstance(device, str)
        self._device: Device = (
            open_device(device) if isinstance(device, str) else device
        )
        self._keep = keep_on_device
        self._closed = False
        self._last_stats: Stats | None = None
        self._model: LoadedModel | None = None
        self._asker: Asker | None = None
        try:
            self._asker = self._asker_of(private)
            self._model = self._load()
        except BaseException:
            self.close()
            raise
        self._inputs = tuple(self._model.inputs)
        self._outputs = tuple(self._model.outputs)

    def get_inputs(self) -> list[TensorInfo]:
        """The model's inputs: `.name`, `.shape`, `.type`."""
        return list(self._inputs)

    def get_outputs(self) -> list[TensorInfo]:
        """The model's outputs: `.name`, `.shape`, `.type`."""
        return list(self._outputs)

    @property
    def device(self) -> Device:
        """Where the model runs."""
        return self._device

    @property
    def last_stats(self) -> Stats | None:
        """What the last successful `run` cost; None before the first."""
        return self._last_stats

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: None = None,
    ) -> list[npt.NDArray[Any]]:
        """Run one inference.

        Args:
            output_names: outputs wanted, in this order; None for all.
            input_feed: an array for each input, of exactly its shape and type.
            run_options: for likeness with onnxruntime; only None.

        Returns:
            The outputs, of the types that `get_outputs` says.

        Raises:
            InputError: a name, shape or type is not the model's; says which is.
            VerificationError: a page of the file was altered.
            DeviceError: the device refuses; the next run works.
            DeviceLostError: the device is gone; the next run tries to load again.
        """
        if run_options is not None:
            raise InputError("run_options are not supported", hint="pass None")
        chosen = self._chosen_outputs(output_names)
        if self._asker is not None:
            question = self._asker.ask(input_feed)
            sealed, _ = self.ask(question.data)
            outputs = question.open(sealed)
        else:
            arrays = checked_inputs(self._inputs, input_feed)
            outputs = self._typed(self._on_model(lambda model: model.infer(arrays)))
        return [outputs[index] for index in chosen]

    def ask(
        self, question: bytes, input_feed: Mapping[str, Any] | None = None
    ) -> tuple[bytes, list[npt.NDArray[Any]]]:
        """Pass on a question that somebody else made (`undercroft.private`).

        Args:
            question: opaque to this process.
            input_feed: as `run` takes it, when the question does not hold the
                inputs; None when it does.

        Returns:
            The sealed answer and no outputs; or, to a question that seals its
            inputs alone, no bytes and the outputs.

        Raises:
            FormatError: not a question for this model.
            InputError: inputs beside sealed ones, or none beside a question
                without them.
            VerificationError: it was made for another device or model, or was
                changed.
            LicenseError, DeviceError, DeviceLostError: as `run`.
        """
        arrays = [] if input_feed is None else checked_inputs(self._inputs, input_feed)
        answer = self._on_model(lambda model: model.ask(question, arrays))
        return answer.sealed, self._typed(answer.outputs)

    def close(self) -> None:
        """Give the secure memory back. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._model is not None:
            self._model.close()
            self._model = None
        if self._owns_device:
            self._device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _on_model(self, infer: Callable[[LoadedModel], tuple[_T, Stats]]) -> _T:
        """Infer, on a model that is loaded again after its device was lost."""
        if self._closed:
            raise DeviceStateError("the session is closed", hint="open a new one")
        if self._model is None:
            self._model = self._load()
        try:
            result, self._last_stats = infer(self._model)
        except DeviceLostError:
            lost, self._model = self._model, None
            lost.close()
            raise
        return result

    def _typed(self, outputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        # Indices cross the boundary as whole numbers in float32. No outputs at
        # all are those of a sealed answer.
        return [
            array.astype(info.dtype, copy=False)
            for array, info in zip(outputs, self._outputs, strict=False)
        ]

    def _asker_of(self, private: bool | Asker) -> Asker | None:
        if not isinstance(private, bool):
            return private
        if not private:
            return None
        from undercroft.keys import DevicePublicKey
        from undercroft.license import License
        from undercroft.private import Asker, key_that_a_license_names

        permit = License.parse(self._license)
        told = DevicePublicKey.from_cose_key(self._device.device_key())
        key = key_that_a_license_names(permit, told)
        return Asker.of_model(self._path, device=key, provider=permit.provider)

    def _load(self) -> LoadedModel:
        return self._device.load(self._path, self._license, keep=self._keep)

    def _chosen_outputs(self, names: Sequence[str] | None) -> list[int]:
        known = [info.name for info in self._outputs]
        if not names:
            return list(range(len(known)))
        if isinstance(names, str):
            raise InputError(
                f"output_names is the text {names!r}", hint=f"pass a list: [{names!r}]"
            )
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InputError(
                f"the model has no output {quoted(unknown)}; it has {quoted(known)}"
            )
        return [known.index(name) for name in names]


def _license_bytes(value: Path | str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    return read_small_file(Path(value), limit_bytes=MAX_LICENSE_BYTES, what="license")
