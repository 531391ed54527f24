# SPDX-License-Identifier: Apache-2.0
"""Licenses by the hundred thousand: a list of devices in, a file of licenses out.

::

    report = issue_all(
        "devices.csv", "licenses.jsonl", model_key=model_key, signing_key=key
    )
    print(report.issued, report.already)

The list is CSV with a header line. `device` (needed) is the device's X25519 key in
hexadecimal or a path to its certificate; further columns are conditions of that
device's license, which go before those given for all. The licenses are lines of
JSON, one a device, in the order of the list: `{"device_id", "license_id", "license"}`
with the license in base64. Memory does not grow with the list but for the set of
device ids (40 bytes a device).

An interrupted run is continued by running it again: what is in the file already is
kept, half a line at its end is cut off, and the devices that are missing are added.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from undercroft._format.files import read_error
from undercroft._format.license import LICENSE_ID_BYTES, LicenseTerms
from undercroft.enroll import DeviceCertificate
from undercroft.errors import Error, FileWriteError, FormatError, InputError
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey, Signer
from undercroft.license import License, issue

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

__all__ = [
    "DeviceRow",
    "Problem",
    "Report",
    "find_license",
    "is_usable",
    "issue_all",
    "read_devices",
    "read_rows",
]

_BATCH: Final = 500
_AHEAD: Final = 8
MAX_LINE_CHARS: Final = 4096
_TERMS: Final = frozenset(item.name for item in fields(LicenseTerms))
_KEY_HEX: Final = 64
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
"""Points of X25519 that no shared secret can be made with (RFC 7748, section 6.1)."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device of the list.

    Attributes:
        line: its line in the file, from 1.
        device: its key.
        terms: conditions of its own.
    """

    line: int
    device: DevicePublicKey
    terms: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why no license can be issued for a line of the list."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did.

    Attributes:
        issued: licenses issued by this run.
        already: licenses that were in the file before.
        problems: lines of the list that got none.
        bytes: size of the file.
    """

    issued: int
    already: int
    problems: tuple[Problem, ...]
    bytes: int


def read_devices(path: Path | str) -> Iterator[DeviceRow | Problem]:
    """Read a list of devices, line by line.

    Yields:
        A row for each good line, a problem for each other one. A device that
        stood in an earlier line is a problem.

    Raises:
        FileAccessError: missing or unreadable.
        FormatError: no list of devices at all: no header line, an unknown column.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            yield from read_rows(
                stream, str(path), lambda text: _device(text, path.parent)
            )
    except OSError as error:
        raise read_error(path, error) from error


def read_rows(
    stream: io.TextIOBase | io.TextIOWrapper,
    name: str,
    find: Callable[[str], DevicePublicKey],
) -> Iterator[DeviceRow | Problem]:
    """Read a list of devices that is open already; see `read_devices`.

    Args:
        stream: its lines.
        name: what it is, for messages.
        find: makes a key of what stands in the column `device`; raises an `Error` or
            a `ValueError` that says why it cannot.
    """
    lines = _Lines(stream)
    header = next(csv.reader(lines), None)
    columns = _columns(name, header or [])
    seen: dict[bytes, int] = {}
    while text := next(lines, None):
        if text.strip():
            yield _read_line(text, lines.number, columns, find, seen)


def is_usable(key: DevicePublicKey) -> bool:
    """Whether anything can be encrypted to a device's key."""
    raw = key.raw
    return bytes([*raw[:31], raw[31] & 0x7F]) not in _SMALL_ORDER


def issue_all(
    devices: Path | str,
    output: Path | str,
    *,
    model_key: ModelKey,
    signing_key: Signer,
    terms: LicenseTerms | None = None,
    partial: bool = False,
    processes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Issue a license for each device of a list.

    Args:
        devices: the list.
        output: the file of licenses; continued when it is there.
        model_key: from the key file that `seal` wrote.
        signing_key: the key that the model was sealed with. One in a token signs
            in this process alone.
        terms: conditions for all; a column of the list goes before them.
        partial: issue for the good lines although there are others.
        processes: how many to use; as many as there are processors without.
        progress: told how many devices are done, now and then.

    Raises:
        InputError: lines with errors, all of them named, and nothing was issued.
        FormatError: the list, or the file of licenses, is something else.
        FileAccessError: a file cannot be read or written.
    """
    output = Path(output)
    terms = terms or LicenseTerms()
    problems = [item for item in _judged(devices, terms) if isinstance(item, Problem)]
    if problems and not partial:
        raise InputError(
            f"{len(problems)} lines of {devices} have errors and nothing was issued:\n"
            + "\n".join(f"  {problem}" for problem in problems),
            hint="mend them, or issue for the other lines with --partial",
        )
    count = 0
    with _Output(output, model_key, signing_key) as licenses:
        rows = (
            item
            for item in _judged(devices, terms)
            if isinstance(item, DeviceRow)
            and item.device.device_id not in licenses.known
        )
        for batch in _issued(rows, model_key, signing_key, terms, processes):
            licenses.write(b"".join(batch))
            count += len(batch)
            if progress is not None:
                progress(len(licenses.known) + count)
        return Report(count, len(licenses.known), tuple(problems), licenses.size())


# ---- the list ----


class _Lines:
    """The lines of a file, counted; a line is a record, whatever is quoted."""

    def __init__(self, stream: io.TextIOBase | io.TextIOWrapper) -> None:
        self._stream = stream
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        text = self._stream.readline(MAX_LINE_CHARS)
        if not text:
            raise StopIteration
        # What is too long for a line is not one; the rest of it goes unread.
        rest = text
        while not rest.endswith("\n") and len(rest) == MAX_LINE_CHARS:
            rest = self._stream.readline(MAX_LINE_CHARS)
        self.number += 1
        return text


def _columns(name: str, header: list[str]) -> list[str]:
    columns = [cell.strip() for cell in header]
    unknown = [column for column in columns if column not in _TERMS | {"device"}]
    if "device" not in columns or unknown or len(set(columns)) != len(columns):
        raise FormatError(
            f"{name} is no list of devices: its first line is {','.join(columns)!r}",
            hint="the first line names the columns: device, and any of "
            f"{', '.join(sorted(_TERMS))}",
        )
    return columns


def _read_line(
    text: str,
    line: int,
    columns: list[str],
    find: Callable[[str], DevicePublicKey],
    seen: dict[bytes, int],
) -> DeviceRow | Problem:
    try:
        cells = next(csv.reader([text], strict=True))
    except csv.Error as error:
        return Problem(line, f"not CSV: {error}")
    if len(cells) != len(columns):
        return Problem(line, f"{len(cells)} cells, where {len(columns)} are expected")
    values = {
        name: cell.strip()
        for name, cell in zip(columns, cells, strict=True)
        if cell.strip()
    }
    try:
        device = find(values.pop("device", ""))
        if not is_usable(device):
            return Problem(line, "nothing can be encrypted to this device's key")
        own = {name: _term(name, value) for name, value in values.items()}
    except Error as error:
        return Problem(line, error.message)
    except ValueError as error:
        return Problem(line, str(error))
    first = seen.setdefault(device.device_id, line)
    if first != line:
        return Problem(line, f"the same device as in line {first}")
    return DeviceRow(line, device, own)


def _device(text: str, folder: Path) -> DevicePublicKey:
    if not text:
        raise ValueError("no device")
    if len(text) == _KEY_HEX:
        try:
            return DevicePublicKey(bytes.fromhex(text))
        except ValueError:
            pass  # a path of that length, then
    return DeviceCertificate.load(folder / text).public_key


def _term(name: str, text: str) -> Any:  # noqa: ANN401 as the condition has it
    if name == "rate":
        count, _, seconds = text.partition("/")
        if not (_is_number(count) and _is_number(seconds)):
            raise ValueError(f"rate {text!r} is not like 10/60: inferences in seconds")
        return int(count), int(seconds)
    if name == "without_time":
        if text not in {"0", "1"}:
            raise ValueError(f"without_time {text!r} is not 0 or 1")
        return text == "1"
    if not _is_number(text):
        raise ValueError(f"{name} {text!r} is no number")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _judged(devices: Path | str, terms: LicenseTerms) -> Iterator[DeviceRow | Problem]:
    """The list, where a device whose conditions cannot be is a problem as well."""
    for item in read_devices(devices):
        if isinstance(item, DeviceRow) and item.terms:
            try:
                replace(terms, **item.terms)
            except FormatError as error:
                yield Problem(item.line, error.message)
                continue
        yield item


# ---- issuing ----

_MINE: dict[str, Any] = {}
"""What a worker process was started with."""


def _start_worker(key: bytes, model_key: ModelKey, terms: LicenseTerms) -> None:
    _MINE.update(
        key=ProviderKey.from_seed(key) if key else None, model=model_key, terms=terms
    )


def _work(rows: list[DeviceRow]) -> list[bytes]:
    return _issue_batch(rows, _MINE["key"], _MINE["model"], _MINE["terms"])


def _issue_batch(
    rows: list[DeviceRow], key: Signer, model_key: ModelKey, terms: LicenseTerms
) -> list[bytes]:
    lines = []
    for row in rows:
        license_id = secrets.token_bytes(LICENSE_ID_BYTES)
        data = issue(
            model_key=model_key,
            device=row.device,
            signing_key=key,
            license_id=license_id,
            terms=replace(terms, **row.terms) if row.terms else terms,
        )
        value = {
            "device_id": row.device.device_id.hex(),
            "license_id": license_id.hex(),
            "license": base64.b64encode(data).decode(),
        }
        lines.append(json.dumps(value).encode() + b"\n")
    return lines


def _issued(
    rows: Iterator[DeviceRow],
    model_key: ModelKey,
    signing_key: Signer,
    terms: LicenseTerms,
    processes: int | None,
) -> Iterator[list[bytes]]:
    """Issue in batches, in order, a few batches ahead of who takes them."""
    batches = iter(lambda: list(islice(rows, _BATCH)), [])
    count = processes or os.cpu_count() or 1
    first = next(batches, [])
    if count == 1 or len(first) < _BATCH or not isinstance(signing_key, ProviderKey):
        while first:
            yield _issue_batch(first, signing_key, model_key, terms)
            first = next(batches, [])
        return
    with ProcessPoolExecutor(
        count,
        # Forked from a process with threads, a worker could wait for a lock forever.
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(signing_key.seed(), model_key, terms),
    ) as pool:
        yield from _in_order(pool, first, batches, count * _AHEAD)


def _in_order(
    pool: Executor,
    first: list[DeviceRow],
    batches: Iterator[list[DeviceRow]],
    ahead: int,
) -> Iterator[list[bytes]]:
    waiting: list[Future[list[bytes]]] = [pool.submit(_work, first)]
    for batch in batches:
        waiting.append(pool.submit(_work, batch))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


# ---- the file of licenses ----


class _Output:
    """The file of licenses, opened to go on with."""

    def __init__(self, path: Path, model_key: ModelKey, signing_key: Signer) -> None:
        self._path = path
        self._model_id = model_key.model_id
        self._provider = signing_key.public().raw
        self.known: set[bytes] = set()
        self._stream: BinaryIO | None = None

    def __enter__(self) -> _Output:
        try:
            self._stream = self._path.open("a+b")
            self._stream.seek(0)
            end = self._read()
            self._stream.truncate(end)
            self._stream.seek(end)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, data: bytes) -> None:
        """Append whole lines, and have them on the disk."""
        assert self._stream is not None  # noqa: S101 entered
        try:
            self._stream.write(data)
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def size(self) -> int:
        """Bytes in the file."""
        return self._path.stat().st_size

    def _read(self) -> int:
        """Learn which devices have their license; return where good lines end."""
        assert self._stream is not None  # noqa: S101 entered
        end = 0
        for line in self._stream:
            if not line.endswith(b"\n"):
                break  # a run that was cut off
            self.known.add(self._device_of(line))
            end += len(line)
        return end

    def _device_of(self, line: bytes) -> bytes:
        try:
            value = json.loads(line)
            permit = License.parse(base64.b64decode(value["license"], validate=True))
        except (FormatError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(
                f"{self._path} is no file of licenses and is left as it is",
                hint="give another name",
            ) from error
        if (
            permit.claims.model_id != self._model_id
            or permit.message.provider_key != self._provider
        ):
            raise FormatError(
                f"{self._path} has licenses for another model or by another key",
                hint="give another name",
            )
        return permit.claims.device_id

    def _failed(self, error: OSError) -> FileWriteError:
        return FileWriteError(
            f"{self._path} cannot be written: {error.strerror}",
            hint="mend that and run the same command again: it goes on where it was",
        )


def find_license(path: Path | str, device_id: bytes) -> bytes | None:
    """Return the license of one device out of a file of licenses, or None.

    Raises:
        FileAccessError: missing or unreadable.
    """
    wanted = device_id.hex().encode()
    try:
        with Path(path).open("rb") as stream:
            for line in stream:
                if wanted in line:
                    return base64.b64decode(json.loads(line)["license"])
    except OSError as error:
        raise read_error(Path(path), error) from error
    return None
