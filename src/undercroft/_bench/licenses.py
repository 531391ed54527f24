# SPDX-License-Identifier: Apache-2.0
"""What licenses cost a device, measured on the board: `licenses URL`.

For each of the host's licenses: opening a model with it, and inferences under it.
Secure storage waits for the host's disk, and the board's clock runs on meanwhile, so
that what is counted is the time that programs ran: of this one, and of all others
(the TEE supplicant, which writes OP-TEE's files, and the kernel's own).
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from undercroft._bench.guest import Channel, array_of, quiet
from undercroft._device import open_device
from undercroft._device.client import ModelClient
from undercroft._device.parcel import Parcel
from undercroft._spec import Command, Status

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from undercroft._device.local import LocalDevice

_PROC: Final = Path("/proc")


def others_ns() -> int:
    """How long all other programs and the kernel's threads have run, ns."""
    total = 0
    for task in _PROC.glob("[0-9]*/task/[0-9]*/schedstat"):
        if task.parts[2] != str(os.getpid()):
            with suppress(OSError, ValueError, IndexError):
                total += int(task.read_text().split()[0])
    return total


class Work:
    """Adds up what is done, here and elsewhere, while it is entered."""

    def __init__(self) -> None:
        self.ns = 0

    def __enter__(self) -> None:
        # What looking takes is outside.
        self._others = others_ns()
        self._own = time.process_time_ns()

    def __exit__(self, *_: object) -> None:
        own = time.process_time_ns() - self._own
        self.ns += own + others_ns() - self._others


def measure(
    device: LocalDevice,
    sealed: Path,
    permit: bytes,
    inputs: list[npt.NDArray[np.float32]],
    task: dict[str, Any],
) -> dict[str, Any]:
    """Open the model several times, then run inferences under its license."""
    header = Parcel.read(sealed).header_bytes
    opens = []
    inferring = Work()
    with quiet():
        for _ in range(task["opens"]):
            invoker = device.open()
            opening = Work()
            with opening:
                reply = invoker.invoke(Command.OPEN, data1=header, data2=permit)
            if reply.status != Status.OK:
                raise SystemExit(f"OPEN: {reply.status:#x}")
            invoker.close()
            opens.append(opening.ns)
        client = ModelClient(device.open(), sealed, permit)
        with inferring:
            for _ in range(task["inferences"]):
                client.infer(inputs)
        client.close()
    return {"open": opens, "inferences": inferring.ns}


def main(url: str) -> None:
    """Do the task that the host has at `url`."""
    channel = Channel(url)
    task = json.loads(channel.fetch("task"))
    sealed = channel.fetch_file("model.sealed", Path(task["folder"]))
    inputs = [array_of(channel.fetch(name)) for name in task["inputs"]]
    device: LocalDevice = open_device("tee:")  # type: ignore[assignment]
    answer: dict[str, Any] = {"info": device.info().as_dict()}
    device.update(channel.ask("update", b""))
    # Held all the while, so that the Trusted Application stays loaded.
    held = device.open()
    for name in task["licenses"]:
        permit = channel.ask(name, device.device_key())
        answer[name] = measure(device, sealed, permit, inputs, task)
    held.close()
    sealed.unlink()
    channel.put("answer", json.dumps(answer).encode())


if __name__ == "__main__":
    main(sys.argv[1])
