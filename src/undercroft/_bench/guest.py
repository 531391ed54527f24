# SPDX-License-Identifier: Apache-2.0
"""The part of a measurement that runs on the board: `guest URL`.

It fetches its task and files from the host (`exchange`), measures, and puts
its answer there. Standard library, numpy and onnxruntime only.

What is timed, by the clock on which a nanosecond is an instruction:

- `first`: from nothing open to the first answer: opening the device, loading
  the model, the first inference. Python and its modules are loaded already,
  and the files lie in memory.
- `steady`: each later inference, from arrays in to arrays out.

Both include what the caller's side costs: Python, reading the sealed file, the
driver, the switches between the worlds. Nothing is subtracted.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from undercroft._device import open_device
from undercroft._device.client import ModelClient

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft._device.invoker import Invoker, Reply
    from undercroft._device.local import LocalDevice
    from undercroft._device.parcel import PageFile
    from undercroft._spec import Command

_AGENT_MODULE: Final = b"undercroft._device.agent"
_TA_FOLDER: Final = Path("/usr/lib/optee_armtz")


class Channel:
    """What the host has for this program and wants from it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def fetch(self, name: str) -> bytes:
        """Return a file's bytes."""
        return self._open(name, None, "GET")

    def fetch_file(self, name: str, folder: Path) -> Path:
        """Store a file in a folder and return its path."""
        path = folder / name
        part = folder / f"{name}.part"
        # The host gives the address: its own loopback interface.
        with (
            urllib.request.urlopen(self._url + name) as response,  # noqa: S310
            part.open("wb") as file,
        ):
            shutil.copyfileobj(response, file, 1 << 20)
        return part.rename(path)

    def put(self, name: str, body: bytes) -> None:
        """Give the host an answer."""
        self._open(name, body, "PUT")

    def ask(self, name: str, body: bytes) -> bytes:
        """Ask the host something and return its answer."""
        return self._open(name, body, "POST")

    def _open(self, name: str, body: bytes | None, method: str) -> bytes:
        # The host gives the address: its own loopback interface.
        request = urllib.request.Request(  # noqa: S310
            self._url + name, data=body, method=method
        )
        with urllib.request.urlopen(request) as response:  # noqa: S310
            data: bytes = response.read()
        return data


def array_of(data: bytes) -> npt.NDArray[np.float32]:
    """Read a .npy file."""
    array: npt.NDArray[np.float32] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def bytes_of(array: npt.NDArray[Any]) -> bytes:
    """Write a .npy file."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


class TimedInvoker:
    """Adds up the time inside the secure side's calls, per command."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker
        self.elapsed_ns: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

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
        began = time.monotonic_ns()
        reply = self._invoker.invoke(command, **arguments)
        self.elapsed_ns[command.name] += time.monotonic_ns() - began
        self.calls[command.name] += 1
        return reply

    def close(self) -> None:
        """See `Invoker.close`."""
        self._invoker.close()


def measure_sealed(task: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Measure a sealed model on a local device (`tee:`, or `host:` for plain)."""
    folder = Path(task["folder"])
    # The `host:` device keeps its key here; the board's own place is read-only.
    os.environ["UNDERCROFT_DATA"] = str(folder)
    sealed = channel.fetch_file(task["sealed"], folder)
    inputs = [array_of(channel.fetch(name)) for name in task["inputs"]]
    for trusted_application in _TA_FOLDER.glob("*.ta"):
        trusted_application.read_bytes()
    device: LocalDevice = open_device(task["device"])  # type: ignore[assignment]
    info = device.info().as_dict()
    license_bytes = channel.ask(task["license"], device.device_key())

    runs = []
    with quiet():
        began = time.monotonic_ns()
        invoker = device.open()
        opened = time.monotonic_ns()
        client = ModelClient(invoker, sealed, license_bytes)
        loaded = time.monotonic_ns()
        outputs, stats = client.infer(inputs)
        first = time.monotonic_ns()
        for _ in range(task["runs"]):
            start = time.monotonic_ns()
            outputs, stats = client.infer(inputs)
            runs.append(
                {"elapsed": time.monotonic_ns() - start, "stats": stats.as_dict()}
            )
        profile = _profile(client, inputs)
    client.close()
    sealed.unlink()
    channel.put("outputs", _joined(outputs))
    return {
        "info": info,
        "open": opened - began,
        "load": loaded - opened,
        "first_inference": first - loaded,
        "runs": runs,
        "profile": profile,
    }


def _profile(
    client: ModelClient, inputs: list[npt.NDArray[np.float32]]
) -> dict[str, Any]:
    """One more inference, with a clock around each entry of the secure side."""
    timed = TimedInvoker(client._invoker)
    client._invoker = timed
    began = time.monotonic_ns()
    client.infer(inputs)
    elapsed = time.monotonic_ns() - began
    return {
        "elapsed": elapsed,
        "commands": dict(timed.elapsed_ns),
        "calls": dict(timed.calls),
    }


def measure_onnxruntime(task: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Measure Debian's onnxruntime on one thread."""
    import onnxruntime

    folder = Path(task["folder"])
    model = channel.fetch_file(task["model"], folder)
    names = task["input_names"]
    arrays = [array_of(channel.fetch(name)) for name in task["inputs"]]
    feeds = dict(zip(names, arrays, strict=True))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1

    runs = []
    with quiet():
        # Its libraries still come from the disk here: waiting for it is no work.
        began = time.process_time_ns()
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        loaded = time.process_time_ns()
        outputs = session.run(None, feeds)
        first = time.process_time_ns()
        for _ in range(task["runs"]):
            start = time.monotonic_ns()
            outputs = session.run(None, feeds)
            runs.append({"elapsed": time.monotonic_ns() - start})
    model.unlink()
    channel.put("outputs", _joined(outputs))
    return {
        "load": loaded - began,
        "first_inference": first - loaded,
        "runs": runs,
        "versions": versions() | {"onnxruntime": onnxruntime.__version__},
    }


def versions() -> dict[str, str]:
    """What runs here."""
    return {
        "linux": os.uname().release,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what is not measured from running in between: agent and collector."""
    stopped = [pid for pid in _agents() if _signal(pid, signal.SIGSTOP)]
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for pid in stopped:
            _signal(pid, signal.SIGCONT)


def _agents() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if _AGENT_MODULE in words:
                    found.append(int(entry.name))
    return found


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def _joined(outputs: list[npt.NDArray[np.float32]]) -> bytes:
    return bytes_of(np.concatenate([output.reshape(-1) for output in outputs]))


MEASURES: Final = {"sealed": measure_sealed, "onnxruntime": measure_onnxruntime}


def main(url: str) -> None:
    """Do the task that the host has at `url`."""
    channel = Channel(url)
    task = json.loads(channel.fetch("task"))
    answer = MEASURES[task["measure"]](task, channel)
    channel.put("answer", json.dumps(answer).encode())


if __name__ == "__main__":
    main(sys.argv[1])
