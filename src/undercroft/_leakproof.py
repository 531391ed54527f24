# SPDX-License-Identifier: Apache-2.0
"""The proof that nothing leaks, on the emulated board.

The board's whole normal-world memory is a file on the host, and its disks are
files too. While a sealed model infers in the secure world, they are searched for
windows of everything that must not leave it::

    secrets = Secrets.of(plan, sealed_path, model_key, onnx_path=model)
    proof = quick_proof(board, secrets, infer=lambda: session.run(None, feeds))
    print(proof.line)

That the search would find what it looks for is shown by `tests/attacks`, which
runs the same search over a run of the same engine in the normal world.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from undercroft._format.pages import derive_page_key
from undercroft._leaks import (
    WINDOW_BYTES,
    SearchResult,
    SecretSearch,
    is_telling,
    sample_windows,
)
from undercroft._spec import OP_RECORD_BYTES

if TYPE_CHECKING:
    from undercroft._board import BoardInfo
    from undercroft.keys import ModelKey
    from undercroft.plan import Plan

WEIGHTS_EVERY_BYTES: Final = 256
"""A window in so many bytes of weights: 256 in a page of 64 KiB, 16 in 4 KiB."""

_IO_EVERY_BYTES: Final = 64
_PROGRAM_EVERY_BYTES: Final = OP_RECORD_BYTES // 4
_PROGRAM_MIN_DISTINCT_BYTES: Final = 6
_COPY_BYTES: Final = 8 << 20

PACKED_WEIGHTS: Final = "packed weights"
MODEL_WEIGHTS: Final = "weights as in the model"
PROGRAM: Final = "program"
CONTENT_KEY: Final = "content key"
PAGE_KEY: Final = "page key"
ACTIVATIONS: Final = "activations"
PRIVATE_INPUT: Final = "private input"
PRIVATE_OUTPUT: Final = "private output"
INPUT: Final = "input"
"""No secret: it comes through normal memory. A search that misses it is broken."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What must never be found in the normal world."""

    search: SecretSearch

    @classmethod
    def of(
        cls,
        plan: Plan,
        sealed_path: Path,
        model_key: ModelKey,
        *,
        onnx_path: Path | None = None,
    ) -> Self:
        """Gather windows of everything that sealing hides.

        Args:
            plan: what was sealed: weights as packed, and the program.
            sealed_path: the sealed file; its header makes the page key.
            model_key: the content key.
            onnx_path: the model, for its weights as they stand there.
        """
        from undercroft._device.parcel import Parcel

        search = SecretSearch()
        parcel = Parcel.read(sealed_path)
        page_key = derive_page_key(
            content_key=model_key.content_key,
            salt=parcel.header.salt,
            header=parcel.header_bytes,
        )
        # Keys are too short to leave one out because it looks ordinary.
        search.add(CONTENT_KEY, _halves(model_key.content_key))
        search.add(PAGE_KEY, _halves(page_key))
        program = sample_windows(
            plan.program(),
            _PROGRAM_EVERY_BYTES,
            min_distinct_bytes=_PROGRAM_MIN_DISTINCT_BYTES,
        )
        search.add(PROGRAM, program)
        for chunks in (plan.resident(), plan.stream()):
            packed = b"".join(chunks)
            search.add(PACKED_WEIGHTS, sample_windows(packed, WEIGHTS_EVERY_BYTES))
        if onnx_path is not None:
            for array in _initialisers(onnx_path):
                search.add(MODEL_WEIGHTS, sample_windows(array, WEIGHTS_EVERY_BYTES))
        return cls(search)

    def add_activations(self, windows: bytes, *, outputs: bytes) -> None:
        """Add windows of activations, one after the other.

        Args:
            windows: of 16 bytes each; those that occur by chance are left out.
            outputs: what the model answered. It leaves the secure world, so
                windows that lie in it are left out.
        """
        public = {
            outputs[at : at + WINDOW_BYTES]
            for at in range(0, len(outputs) - WINDOW_BYTES + 1, 4)
        }
        split = (
            windows[at : at + WINDOW_BYTES]
            for at in range(0, len(windows), WINDOW_BYTES)
        )
        self.search.add(
            ACTIVATIONS,
            (window for window in split if is_telling(window) and window not in public),
        )

    @classmethod
    def of_private_io(cls, *, inputs: bytes, outputs: bytes) -> Self:
        """Gather windows of what a private inference takes and gives."""
        search = SecretSearch()
        search.add(PRIVATE_INPUT, sample_windows(inputs, _IO_EVERY_BYTES))
        search.add(PRIVATE_OUTPUT, sample_windows(outputs, _IO_EVERY_BYTES))
        return cls(search)

    def add_input(self, data: bytes) -> None:
        """Add windows of an input, which is no secret but must be found."""
        self.search.add(INPUT, sample_windows(data, WEIGHTS_EVERY_BYTES))


def _halves(key: bytes) -> list[bytes]:
    return [key[at : at + WINDOW_BYTES] for at in range(0, len(key), WINDOW_BYTES)]


def _initialisers(onnx_path: Path) -> Iterator[bytes]:
    import onnx
    from onnx import numpy_helper

    for tensor in onnx.load(str(onnx_path)).graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            yield array.tobytes()


def activation_ranges(plan: Plan) -> list[tuple[int, int]]:
    """Return where tensors lie in the arena: [begin, end), without overlaps."""
    from undercroft._format import program

    spans = sorted(
        (tensor.offset, tensor.offset + tensor.size_bytes)
        for tensor in program.decode(plan.program()).tensors
    )
    merged: list[tuple[int, int]] = []
    for begin, end in spans:
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged


# ---- where to look ----


def normal_world(board: BoardInfo) -> list[Path]:
    """Everything of a board that its normal world can write: memory and disk."""
    return [board.ram_path, board.state_image]


@contextlib.contextmanager
def paused(board: BoardInfo) -> Iterator[None]:
    """Stop the board's processors for a moment."""
    from undercroft._board import qemu
    from undercroft._board.qmp import Qmp

    with Qmp.open(board.folder, qemu.QMP_SOCKET) as control:
        control.command("stop")
        try:
            yield
        finally:
            control.command("cont")


def snapshot(board: BoardInfo, folder: Path) -> list[Path]:
    """Copy a board's memory and disk as they are at one moment.

    Args:
        board: is stopped for as long as copying takes, then goes on.
        folder: where the copies go; sparse files, as large as the originals.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    with paused(board):
        for path in normal_world(board):
            copy = folder / path.name
            _copy_sparse(path, copy)
            copies.append(copy)
    return copies


def _copy_sparse(source: Path, target: Path) -> None:
    with source.open("rb", buffering=0) as read, target.open("wb") as write:
        size = os.fstat(read.fileno()).st_size
        position = 0
        while position < size:
            try:
                begin = os.lseek(read.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(read.fileno(), begin, os.SEEK_HOLE)
            for start in range(begin, end, _COPY_BYTES):
                count = min(_COPY_BYTES, end - start)
                write.seek(start)
                write.write(os.pread(read.fileno(), count, start))
            position = end
        write.truncate(size)


# ---- while inferring ----


class Inferring:
    """Runs inferences one after the other in a thread. A context manager.

    The first error ends the thread and is raised on leaving.
    """

    def __init__(self, infer: Callable[[], object]) -> None:
        self._infer = infer
        self._stop = threading.Event()
        self._begun = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="undercroft-inferring")
        self.completed = 0

    def wait_begun(self) -> None:
        """Wait until the first inference has begun."""
        self._begun.wait()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._begun.set()
                self._infer()
                self.completed += 1
        except BaseException as error:  # Raised again on leaving.
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait_begun()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and failure[0] is None:
            raise self._error


@dataclass(frozen=True, slots=True)
class Proof:
    """What a search while inferring found.

    Attributes:
        result: windows looked for and found, by kind.
        inferences: that ended while it searched, or right after.
    """

    result: SearchResult
    inferences: int

    @property
    def leaked_windows(self) -> int:
        """Windows of secrets that were found."""
        return sum(self.result.found.values())

    @property
    def line(self) -> str:
        """The proof in one line."""
        windows = sum(self.result.needles.values())
        found = self.leaked_windows
        return (
            f"normal-world memory and disk searched while inferring: "
            f"{self.result.scanned_bytes / 2**20:,.0f} MiB for {windows:,} windows of "
            f"weights, program and keys: {found:,} found"
        )


def quick_proof(
    board: BoardInfo,
    secrets: Secrets,
    *,
    infer: Callable[[], object],
    progress: Callable[[str], None] | None = None,
) -> Proof:
    """Search a board's normal world, live, while it infers.

    Args:
        board: the board that holds the loaded model.
        secrets: what must not be found.
        infer: runs one inference of that model; called from another thread, and
            by nobody else meanwhile.
        progress: told what is being done.
    """
    if progress is not None:
        progress("searching the board's normal memory and disk while it infers")
    with Inferring(infer) as inferring:
        result = secrets.search.scan_files(normal_world(board))
    return Proof(result=result, inferences=inferring.completed)


def scan(secrets: Secrets, files: Sequence[Path]) -> SearchResult:
    """Search files for everything in `secrets`."""
    return secrets.search.scan_files(files)
