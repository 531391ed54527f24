# SPDX-License-Identifier: Apache-2.0
"""The leak proof's control, on the board: the same model without protection.

The engine of the `host:` device infers in the board's normal world, so that
everything which the secure world keeps to itself lies in normal memory. In the
middle of an inference the host is asked to look. Only then are activations
collected, to the end of the inference, and sent: what the host found cannot come
from sending. What earlier operators left behind in the arena is among them.

An application of that kind also holds the ONNX file; and the content key, which
the engine wipes after use, is held here on purpose.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from undercroft._bench.guest import Channel, array_of, bytes_of
from undercroft._device.client import ModelClient
from undercroft._device.host import HostDevice
from undercroft._spec import Command

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft._device.invoker import Invoker, Reply
    from undercroft._device.parcel import PageFile

WINDOW_BYTES: Final = 16
WINDOW_EVERY_BYTES: Final = 128


class WatchedInvoker:
    """Calls back after each page that the engine took."""

    def __init__(self, invoker: Invoker, after_push: Callable[[], None]) -> None:
        self._invoker = invoker
        self._after_push = after_push

    @property
    def buffer(self) -> memoryview:
        """See `Invoker.buffer`."""
        return self._invoker.buffer

    @property
    def invocations(self) -> int:
        """See `Invoker.invocations`."""
        return self._invoker.invocations

    def keep(self, file: PageFile, pages: range, step: int) -> int:
        """See `Invoker.keep`."""
        return self._invoker.keep(file, pages, step)

    def invoke(self, command: Command, **arguments: Any) -> Reply:  # noqa: ANN401
        """See `Invoker.invoke`."""
        reply = self._invoker.invoke(command, **arguments)
        if command in {Command.PUSH, Command.INPUT, Command.SPILL, Command.FILL}:
            self._after_push()
        return reply

    def close(self) -> None:
        """See `Invoker.close`."""
        self._invoker.close()


class ActivationWindows:
    """Collects windows of an arena's activations whenever they have changed."""

    def __init__(
        self, arena: npt.NDArray[np.uint8], ranges: list[tuple[int, int]]
    ) -> None:
        """Take an arena and where, [begin, end), tensors lie in it."""
        self._parts = [
            arena[begin : end - (end - begin) % WINDOW_EVERY_BYTES].reshape(
                -1, WINDOW_EVERY_BYTES
            )[:, :WINDOW_BYTES]
            for begin, end in ranges
            if end - begin >= WINDOW_EVERY_BYTES
        ]
        self._last = [np.zeros_like(part) for part in self._parts]
        self._collected: list[bytes] = []

    def look(self) -> None:
        """Take those that differ from the last look."""
        for part, last in zip(self._parts, self._last, strict=True):
            changed = (part != last).any(axis=1)
            if changed.any():
                self._collected.append(part[changed].tobytes())
                last[:] = part

    def join(self) -> bytes:
        """All windows, one after the other."""
        return b"".join(self._collected)


def arena_of(device: HostDevice) -> npt.NDArray[np.uint8]:
    """Return the memory of a `host:` device."""
    function = device._engine.uc_host_arena
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)]
    size = ctypes.c_size_t()
    address = function(device._host, ctypes.byref(size))
    return np.ctypeslib.as_array((ctypes.c_uint8 * size.value).from_address(address))


def main(url: str) -> None:
    """Do the task that the host has at `url`."""
    channel = Channel(url)
    task = json.loads(channel.fetch("task"))
    folder = Path(task["folder"])
    sealed = channel.fetch_file("model.sealed", folder)
    held = [channel.fetch("model.onnx"), channel.fetch("content-key")]
    inputs = [array_of(channel.fetch(name)) for name in task["inputs"]]
    private_key = bytes.fromhex(task["private_key"])

    device = HostDevice(task["device"], private_key=private_key)
    client = ModelClient(device.open(), sealed, channel.fetch("license"))
    client._push_pages = 1
    windows = ActivationWindows(arena_of(device), task["activations"])
    pushed = 0

    def after_push() -> None:
        nonlocal pushed
        pushed += 1
        if pushed == task["look_after_pushes"]:
            channel.ask("look", b"")
        if pushed >= task["look_after_pushes"]:
            windows.look()

    client._invoker = WatchedInvoker(client._invoker, after_push)
    outputs, stats = client.infer(inputs)
    if pushed < task["look_after_pushes"]:
        raise SystemExit(f"only {pushed} pages are streamed")
    client.close()
    device.close()
    channel.put("activations", windows.join())
    channel.put("outputs", bytes_of(outputs[0]))
    answer = {"held_bytes": sum(map(len, held)), "stats": stats.as_dict()}
    channel.put("answer", json.dumps(answer).encode())


if __name__ == "__main__":
    main(sys.argv[1])
