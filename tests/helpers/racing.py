# SPDX-License-Identifier: Apache-2.0
"""Changes shared memory from a second thread for as long as a call reads it.

Runs on the host engine, and, sent as text by `tests/attacks`, in the board's guest,
where the call is in the secure world on one core and the thread on the other.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from undercroft._device.client import ModelClient
from undercroft._device.invoker import Invoker, Reply
from undercroft._spec import Command, Status
from undercroft.errors import Error

DATA = ("data1", "data2")
STAGING_ALIGN = 64

STEPS_GOOD = 3
"""For each time that the bytes are wrong they are right so often."""


class Racer:
    """A thread that writes right and wrong bytes over each other. A context manager."""

    def __init__(self) -> None:
        self._stop = False
        self._target: tuple[Any, Any, Any] | None = None
        self._aimed = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.rounds = 0

    def __enter__(self) -> Racer:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop = True
        self._aimed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop:
            self._aimed.wait()
            with self._writing:
                if self._target is None:
                    continue
                memory, good, bad = self._target
                memory[:] = bad
                for _ in range(STEPS_GOOD):
                    memory[:] = good
                self.rounds += 1

    @contextmanager
    def at(self, memory: Any, mask: Any) -> Iterator[None]:
        """Race against what stands in memory: mask has the bits that change."""
        good = memory.copy()
        rounds = self.rounds
        self._target = (memory, good, good ^ mask)
        self._aimed.set()
        # A thread that has yet to wake up comes too late for what is read at once.
        while self.rounds == rounds:
            time.sleep(0)
        try:
            yield
        finally:
            self._aimed.clear()
            # Once no round is under way, none begins.
            with self._writing:
                self._target = None


class RacingInvoker:
    """Passes calls on to a session, some of them with a race in their memory."""

    def __init__(self, inner: Invoker, racer: Racer, seed: int) -> None:
        self._inner = inner
        self._racer = racer
        self._random = np.random.default_rng(seed)
        self.raced: Counter[tuple[str, str]] = Counter()
        self.racing: set[Command] = set()

    @property
    def buffer(self) -> memoryview:
        """The session's own."""
        return self._inner.buffer

    @property
    def invocations(self) -> int:
        """The session's own."""
        return self._inner.invocations

    def keep(self, file: Any, pages: range, step: int) -> int:
        """Nothing: the buffer is where the race is."""
        return 0

    def mask(self, length: int) -> Any:
        """One to four bits somewhere, or everything behind some place."""
        mask = np.zeros(length, np.uint8)
        if self._random.integers(4) == 0:
            mask[self._random.integers(length) :] = 0xFF
        for at in self._random.integers(length, size=self._random.integers(1, 5)):
            mask[at] |= 1 << self._random.integers(8)
        return mask

    def invoke(self, command: Command, **more: Any) -> Reply:
        """Enter the secure side, with a race when the command is to be raced."""
        length = more.get("buffer_bytes", 0)
        if command not in self.racing or length == 0:
            return self._inner.invoke(command, **more)
        memory = np.frombuffer(self._inner.buffer, np.uint8)[:length]
        with self._racer.at(memory, self.mask(length)):
            reply = self._inner.invoke(command, **more)
        self.raced[command.name, Status(reply.status).name] += 1
        return reply

    def close(self) -> None:
        """End the session."""
        self._inner.close()


def race(
    device: Any,
    sealed: Path,
    license_bytes: bytes,
    x: Any,
    *,
    inferences: int,
    loads: int,
) -> tuple[list[Any], dict[str, int]]:
    """Race for pages: while they are loaded, streamed, and while they come back.

    Returns:
        Every answer that came out, and how often each command answered what.
    """
    outputs: list[Any] = []
    counts: Counter[tuple[str, str]] = Counter()
    with Racer() as racer:
        for attempt in range(loads):
            invoker = RacingInvoker(device.open(), racer, attempt)
            invoker.racing = {Command.PUSH}
            try:
                model = ModelClient(invoker, sealed, license_bytes)
            except Error:
                invoker.close()
            else:
                invoker.racing = set()
                outputs.append(model.infer([x])[0][0])
                model.close()
            counts += Counter({("LOAD", b): n for (_, b), n in invoker.raced.items()})
        invoker = RacingInvoker(device.open(), racer, loads)
        model = ModelClient(invoker, sealed, license_bytes)
        for attempt in range(inferences):
            invoker.racing = {(Command.PUSH, Command.FILL)[attempt % 2]}
            with suppress(Error):
                outputs.append(model.infer([x])[0][0])
            # Nobody interferes with the next one.
            invoker.racing = set()
            outputs.append(model.infer([x])[0][0])
        counts += invoker.raced
        model.close()
    return outputs, {" ".join(key): count for key, count in sorted(counts.items())}


class OpeningInvoker(RacingInvoker):
    """Races for the header or the license for as long as OPEN takes.

    On the board, where copies of both lie one after the other in shared memory.
    """

    def __init__(self, inner: Any, racer: Racer, attempt: int) -> None:
        from undercroft._device.tee import BUFFER_BYTES

        super().__init__(inner, racer, attempt)
        self._staging = np.frombuffer(inner._memory.view, np.uint8)[BUFFER_BYTES:]
        self._attempt = attempt

    def invoke(self, command: Command, **more: Any) -> Reply:
        """Enter the secure side, with a race in OPEN."""
        if command is not Command.OPEN:
            return self._inner.invoke(command, **more)
        parts = [np.frombuffer(bytes(more[name]), np.uint8) for name in DATA]
        places = (0, -(-len(parts[0]) // STAGING_ALIGN) * STAGING_ALIGN)
        place, part = places[self._attempt % 2], parts[self._attempt % 2]
        memory = self._staging[place : place + len(part)]
        memory[:] = part
        with self._racer.at(memory, self.mask(len(part))):
            reply = self._inner.invoke(command, **more)
        self.raced["OPEN", Status(reply.status).name] += 1
        return reply


def race_to_open(
    device: Any, sealed: Path, license_bytes: bytes, x: Any, *, attempts: int
) -> tuple[list[Any], dict[str, int]]:
    """Race for header and license, in turns.

    Returns:
        Every answer that came out, and how often OPEN answered what.
    """
    outputs: list[Any] = []
    counts: Counter[tuple[str, str]] = Counter()
    with Racer() as racer:
        for attempt in range(attempts):
            invoker = OpeningInvoker(device.open(), racer, attempt)
            try:
                model = ModelClient(invoker, sealed, license_bytes)
                outputs.append(model.infer([x])[0][0])
                model.close()
            except Error:
                invoker.close()
            counts += invoker.raced
    return outputs, {" ".join(key): count for key, count in sorted(counts.items())}
