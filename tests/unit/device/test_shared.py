# SPDX-License-Identifier: Apache-2.0
"""Pages that a session of the `tee:` device keeps in shared memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.provider import FakePlan, ship
from helpers.teec import FakeTeec, read
from undercroft._device import shared, tee
from undercroft._device.parcel import PageFile, Parcel
from undercroft._device.shared import SPARE_PIECES, TURN_PIECES, piece_bytes
from undercroft._device.tee import BUFFER_BYTES, STAGING_BYTES, TeeDevice, TeeInvoker
from undercroft._device.teec import TeecOperation
from undercroft._spec import Command
from undercroft.errors import DeviceError, FormatError

FIRST, PAGES, STEP = 2, 160, 3
SLOT_BYTES = 4112
ROOM = piece_bytes(STEP, SLOT_BYTES)
SESSION_BYTES = BUFFER_BYTES + STAGING_BYTES
PIECES = -(-PAGES // STEP)
STREAMED = range(FIRST, FIRST + PAGES)


@pytest.fixture(scope="module")
def large_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1 program page, 1 resident page and 160 streamed pages."""
    chunks = [bytes([page]) * 4096 for page in range(PAGES)]
    plan = FakePlan(streamed_pages=PAGES, chunks={"stream": chunks})
    path = tmp_path_factory.mktemp("shared") / "large.sealed"
    path.write_bytes(ship(plan).sealed)
    return path


@pytest.fixture
def file(large_path: Path) -> Iterator[PageFile]:
    with PageFile(Parcel.read(large_path)) as pages:
        assert pages.slot_bytes == SLOT_BYTES
        yield pages


@pytest.fixture
def pushed(library: FakeTeec) -> list[bytes]:
    """What every call hands in."""
    seen: list[bytes] = []

    def handler(_command: int, operation: TeecOperation) -> tuple[int, int]:
        seen.append(read(operation, 1))
        return 0, 0

    library.handler = handler
    return seen


def in_file(path: Path, first: int, count: int) -> bytes:
    begin = Parcel.read(path).pages_offset + first * SLOT_BYTES
    return path.read_bytes()[begin : begin + count * SLOT_BYTES]


def push_all(session: TeeInvoker) -> None:
    for first in range(FIRST, FIRST + PAGES, STEP):
        count = min(STEP, FIRST + PAGES - first)
        session.invoke(Command.PUSH, values=(first, count), kept=True)


@pytest.mark.parametrize(
    ("room_pieces", "registered"),
    [
        (None, PIECES),
        (TURN_PIECES + PIECES + SPARE_PIECES, PIECES),
        (TURN_PIECES + PIECES + SPARE_PIECES - 1, PIECES - 1),
        (TURN_PIECES + PIECES, PIECES - SPARE_PIECES),
        (TURN_PIECES + SPARE_PIECES + 1, 1),
    ],
)
def test_each_inference_hands_in_the_pages_of_the_file(
    library: FakeTeec,
    pushed: list[bytes],
    file: PageFile,
    large_path: Path,
    room_pieces: int | None,
    registered: int,
) -> None:
    if room_pieces is not None:
        library.room_bytes = SESSION_BYTES + room_pieces * ROOM
    session = TeeDevice().open()
    assert session.keep(file, STREAMED, STEP) == PAGES
    in_turn = TURN_PIECES if registered < PIECES else 0
    assert sum(library.registered.values()) == (
        SESSION_BYTES + (registered + in_turn) * ROOM
    )
    session.buffer[:] = bytes(BUFFER_BYTES)
    for _ in range(2):
        pushed.clear()
        push_all(session)
        assert b"".join(pushed) == in_file(large_path, FIRST, PAGES)
    # Nothing of it went through the buffer.
    assert not any(session.buffer)
    session.close()
    assert library.registered == {}


@pytest.mark.parametrize("room_pieces", [0, 1, TURN_PIECES + SPARE_PIECES])
def test_no_room_in_the_tee_keeps_nothing(
    library: FakeTeec, file: PageFile, room_pieces: int
) -> None:
    library.room_bytes = SESSION_BYTES + room_pieces * ROOM
    session = TeeDevice().open()
    assert session.keep(file, STREAMED, STEP) == 0
    assert list(library.registered.values()) == [SESSION_BYTES]
    with pytest.raises(DeviceError, match="no pages are kept"):
        session.invoke(Command.PUSH, values=(FIRST, 1), kept=True)
    session.close()
    assert library.registered == {}


def test_room_that_somebody_else_took_later_is_done_without(
    library: FakeTeec, pushed: list[bytes], file: PageFile, large_path: Path
) -> None:
    library.room_bytes = SESSION_BYTES + (TURN_PIECES + PIECES) * ROOM
    session = TeeDevice().open()
    assert session.keep(file, STREAMED, STEP) == PAGES
    library.room_bytes = 0
    for _ in range(2):
        pushed.clear()
        before = library.calls.count("register")
        push_all(session)
        assert b"".join(pushed) == in_file(large_path, FIRST, PAGES)
    # Copied, as if they were not kept; and the TEE was not asked again.
    assert library.calls.count("register") == before
    session.close()
    assert library.registered == {}


def test_a_session_takes_the_room_of_kept_pages(
    library: FakeTeec, pushed: list[bytes], file: PageFile, large_path: Path
) -> None:
    device = TeeDevice()
    session = device.open()
    assert session.keep(file, STREAMED, STEP) == PAGES
    library.room_bytes = 3 * SESSION_BYTES
    others = [device.open(), device.open()]
    assert list(library.registered.values()) == [SESSION_BYTES] * 3
    push_all(session)
    assert b"".join(pushed) == in_file(large_path, FIRST, PAGES)
    with pytest.raises(DeviceError, match="can be shared"):
        device.open()
    for one in (session, *others):
        one.close()
    assert library.registered == {}
    library.room_bytes = 0
    with pytest.raises(DeviceError, match="can be shared"):
        device.open()


def test_parts_of_a_piece_are_handed_in(
    library: FakeTeec, pushed: list[bytes], file: PageFile, large_path: Path
) -> None:
    library.room_bytes = SESSION_BYTES + (TURN_PIECES + PIECES) * ROOM
    session = TeeDevice().open()
    session.keep(file, STREAMED, STEP)
    for first, count in ((2, 1), (3, 2), (4, 1), (155, 2), (156, 1), (161, 1)):
        session.invoke(Command.PUSH, values=(first, count), kept=True)
        assert pushed[-1] == in_file(large_path, first, count)
    for first, count in ((1, 1), (4, 2), (162, 3), (2, 0), (2, 4)):
        with pytest.raises(DeviceError, match="not kept"):
            session.invoke(Command.PUSH, values=(first, count), kept=True)


def test_pages_are_those_that_the_file_held_when_they_were_taken(
    library: FakeTeec, pushed: list[bytes], large_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "changed.sealed"
    path.write_bytes(large_path.read_bytes())
    session = TeeDevice().open()
    with PageFile(Parcel.read(path)) as file:
        session.keep(file, STREAMED, STEP)
        with path.open("r+b") as changed:
            changed.seek(-SLOT_BYTES * PAGES, 2)
            changed.write(b"\xee" * SLOT_BYTES)
            changed.truncate(path.stat().st_size - 5 * SLOT_BYTES)
        push_all(session)
    assert b"".join(pushed) == in_file(large_path, FIRST, PAGES)


def test_a_file_that_became_shorter_is_refused(
    library: FakeTeec, large_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "short.sealed"
    path.write_bytes(large_path.read_bytes())
    session = TeeDevice().open()
    with PageFile(Parcel.read(path)) as file:
        with path.open("r+b") as changed:
            changed.truncate(path.stat().st_size - 1)
        with pytest.raises(FormatError, match="shorter"):
            session.keep(file, STREAMED, STEP)
    assert list(library.registered.values()) == [SESSION_BYTES]


# ---- how much memory ----


@pytest.mark.parametrize(
    ("size", "pages"),
    [("0", 0), ("512KiB", 0), (str(PIECES * ROOM - 1), 0), (str(PIECES * ROOM), PAGES)],
)
def test_the_uri_says_how_much_memory_to_keep_pages_in(
    library: FakeTeec, file: PageFile, size: str, pages: int
) -> None:
    session = TeeDevice(f"tee:?keep={size}").open()
    assert session.keep(file, STREAMED, STEP) == pages


def test_sessions_share_that_memory_and_give_it_back(
    library: FakeTeec, file: PageFile
) -> None:
    device = TeeDevice(f"tee:?keep={2 * PIECES * ROOM - 1}")
    first, second, third = device.open(), device.open(), device.open()
    assert first.keep(file, STREAMED, STEP) == PAGES
    assert second.keep(file, STREAMED, STEP) == 0
    first.close()
    assert third.keep(file, STREAMED, STEP) == PAGES


def test_an_eighth_of_the_available_memory_unless_told_otherwise(
    library: FakeTeec, file: PageFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = 8 * PIECES * ROOM
    monkeypatch.setattr(tee, "available_bytes", lambda: need - 1)
    assert TeeDevice().open().keep(file, STREAMED, STEP) == 0
    monkeypatch.setattr(tee, "available_bytes", lambda: need)
    assert TeeDevice().open().keep(file, STREAMED, STEP) == PAGES


def test_memory_that_cannot_be_known_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared.available_bytes() > 1 << 20
    monkeypatch.setattr(shared.Path, "read_text", lambda _path: "MemFree: 1 kB\n")
    assert shared.available_bytes() == 0


@pytest.mark.parametrize("uri", ["tee:?keep=much", "tee:?keep=-1", "tee:?hold=1MiB"])
def test_a_uri_that_says_nothing_known_is_refused(library: FakeTeec, uri: str) -> None:
    with pytest.raises(DeviceError):
        TeeDevice(uri)
    assert library.calls == []


def test_a_model_without_streamed_pages_keeps_none(
    library: FakeTeec, file: PageFile
) -> None:
    session = TeeDevice().open()
    assert session.keep(file, range(FIRST, FIRST), STEP) == 0
    assert session.keep(file, STREAMED, STEP) == PAGES
    with pytest.raises(DeviceError, match="another model"):
        session.keep(file, STREAMED, STEP)
