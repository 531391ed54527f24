# SPDX-License-Identifier: Apache-2.0
"""Sealing: from a planned model to the file that ships to every device.

::

    key = ProviderKey.load("provider.pem")
    result = seal("model.onnx", "model.sealed", budget="12MiB", signing_key=key)
    print(result.key_file)      # keep it: licenses need it, new versions too

Weights are read, encrypted and written page by page, so memory does not grow
with the model. The file appears whole or not at all.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from undercroft._format.files import atomic_file
from undercroft._format.header import SealedHeader
from undercroft._format.pages import PageCipher, cut_pages, derive_page_key
from undercroft._format.suites import DEFAULT_SUITE, suite_number
from undercroft._spec import (
    FORMAT_VERSION,
    MAX_HEADER_BYTES,
    MODEL_ID_BYTES,
    SALT_BYTES,
    SEALED_MAGIC,
)
from undercroft.errors import FileAccessError, FormatError, PlanError
from undercroft.keys import ModelKey, Signer
from undercroft.sealed import PREFIX

if TYPE_CHECKING:
    from undercroft.plan import WeightsFormat
    from undercroft.tensor import TensorInfo

__all__ = ["SealResult", "seal"]

BytesLike: TypeAlias = bytes | bytearray | memoryview
Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of pages written and of pages in all."""


class Plan(Protocol):
    """What sealing needs of `undercroft.plan.Plan`."""

    @property
    def inputs(self) -> Sequence[TensorInfo]: ...
    @property
    def outputs(self) -> Sequence[TensorInfo]: ...
    @property
    def suite(self) -> str: ...
    @property
    def page_bytes(self) -> int: ...
    @property
    def program_pages(self) -> int: ...
    @property
    def resident_pages(self) -> int: ...
    @property
    def streamed_pages(self) -> int: ...
    @property
    def arena_bytes(self) -> int: ...
    def program(self) -> bytes: ...
    def resident(self) -> Iterator[BytesLike]: ...
    def stream(self) -> Iterator[BytesLike]: ...


@dataclass(frozen=True, slots=True)
class SealResult:
    """What `seal` made.

    Attributes:
        path: the sealed file.
        file_bytes: its size.
        header: its header.
        model_key: the secret that licenses are made from.
        key_file: where that secret is stored; None when the caller keeps it.
    """

    path: Path
    file_bytes: int
    header: SealedHeader
    model_key: ModelKey
    key_file: Path | None


def seal(
    model: Path | str,
    output: Path | str,
    *,
    signing_key: Signer,
    plan: Plan | None = None,
    budget: str | int = "12MiB",
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    weights: WeightsFormat = "f32",
    suite: str | None = None,
    model_version: int = 1,
    key_file: Path | str | None = None,
    model_id: bytes | None = None,
    content_key: bytes | None = None,
    progress: Progress | None = None,
) -> SealResult:
    """Seal a model.

    Args:
        model: an ONNX file. Not looked at when `plan` is given.
        output: the sealed file; replaced when it exists.
        signing_key: the provider's key; licenses must be signed with the same.
        plan: the plan to follow; made with `budget`, `input_shapes` and
            `weights` without.
        budget: secure memory to plan for, in bytes or as "12MiB".
        input_shapes: static shapes for inputs whose shape is not.
        weights: "f32", or "int8" for weights in 8 bits (see `plan`).
        suite: the cipher suite, `aes-256-gcm`, `aegis-128l` or
            `chacha20-poly1305`; without, the plan's, which is `aes-256-gcm`
            unless it was made for another.
        model_version: a number that the provider counts up.
        key_file: where the model's id and content key are kept, `OUTPUT.key`
            without. An existing one is used again, so that licenses issued for
            an earlier version open this one; else it is written.
        model_id: 16 bytes for a new key; random without.
        content_key: 32 bytes, when the caller keeps the key: then no key file
            is written unless `key_file` names one.
        progress: called after each page.

    Raises:
        ModelError: the model cannot be taken.
        BudgetExceededError: it does not fit the budget.
        PlanError: there is no such suite.
        EnvironmentMissingError: the library that does the suite is missing.
        FileAccessError: the key file cannot be read or does not go with the
            arguments.
        FileWriteError: the disk is full or not writable; nothing was left.
    """
    output = Path(output)
    if plan is None:
        plan = _make_plan(model, budget, input_shapes, weights, suite or DEFAULT_SUITE)
    key_path, model_key, is_new = _model_key(output, key_file, model_id, content_key)
    header = SealedHeader(
        model_id=model_key.model_id,
        model_version=model_version,
        suite=suite_number(plan.suite if suite is None else suite),
        page_bytes=plan.page_bytes,
        program_pages=plan.program_pages,
        resident_pages=plan.resident_pages,
        streamed_pages=plan.streamed_pages,
        salt=secrets.token_bytes(SALT_BYTES),
        budget_bytes=plan.arena_bytes,
        inputs=tuple(plan.inputs),
        outputs=tuple(plan.outputs),
    )
    file_bytes = write_files(
        output,
        header,
        planned_pages(header, plan),
        model_key=model_key,
        new_key_file=key_path if is_new else None,
        signing_key=signing_key,
        progress=progress,
    )
    return SealResult(
        path=output,
        file_bytes=file_bytes,
        header=header,
        model_key=model_key,
        key_file=key_path,
    )


def write_files(
    output: Path,
    header: SealedHeader,
    pages: Iterable[bytes],
    *,
    model_key: ModelKey,
    new_key_file: Path | None,
    signing_key: Signer,
    progress: Progress | None = None,
) -> int:
    """Write the sealed file and, when there is a new key, its file: both or none.

    Args:
        output: the sealed file.
        header: its header.
        pages: the plaintext of as many pages as the header says.
        model_key: what they are encrypted with.
        new_key_file: where to store that key; None when it is stored.
        signing_key: signs the header.
        progress: called after each page.

    Returns:
        The bytes of the sealed file.

    Raises:
        FileWriteError: the disk is full or not writable, or the key file exists.
    """
    with atomic_file(output) as stream:
        write_sealed(
            stream,
            header,
            pages,
            model_key=model_key,
            signing_key=signing_key,
            progress=progress,
        )
        file_bytes = stream.tell()
        if new_key_file is not None:
            # Once nothing but the renaming is left to do, and before it: a
            # sealed file without its key is lost, a key without a file is not.
            stream.flush()
            os.fsync(stream.fileno())
            model_key.save(new_key_file)
    return file_bytes


def write_sealed(
    stream: BinaryIO,
    header: SealedHeader,
    pages: Iterable[bytes],
    *,
    model_key: ModelKey,
    signing_key: Signer,
    progress: Progress | None = None,
) -> None:
    """Write prefix, header and pages to a stream.

    Raises:
        FormatError: the header is over its limit.
    """
    signed = signing_key.sign_message(header.encode())
    if len(signed) > MAX_HEADER_BYTES:
        raise FormatError(
            f"the header needs {len(signed)} bytes and {MAX_HEADER_BYTES} are allowed",
            hint="shorten the names of the model's inputs and outputs",
        )
    magic = SEALED_MAGIC.encode()
    stream.write(PREFIX.pack(magic, FORMAT_VERSION, 0, len(signed)))
    stream.write(signed)
    page_key = derive_page_key(
        content_key=model_key.content_key, salt=header.salt, header=signed
    )
    cipher = PageCipher(header.suite, page_key)
    for index, page in enumerate(pages):
        stream.write(cipher.encrypt(index, page))
        if progress is not None:
            progress(index + 1, header.page_count)


def planned_pages(header: SealedHeader, plan: Plan) -> Iterator[bytes]:
    """Give program, resident and streamed pages, each as many as promised.

    Raises:
        PlanError: the plan gives another number of pages than it promised.
    """
    return chain(
        _exactly("program", header.program_pages, [plan.program()], header.page_bytes),
        _exactly("resident", header.resident_pages, plan.resident(), header.page_bytes),
        _exactly("streamed", header.streamed_pages, plan.stream(), header.page_bytes),
    )


def _exactly(
    what: str, count: int, chunks: Iterable[BytesLike], page_bytes: int
) -> Iterator[bytes]:
    given = 0
    for page in cut_pages(chunks, page_bytes):
        given += 1
        if given > count:
            break
        yield page
    if given != count:
        raise PlanError(
            f"the plan promised {count} {what} pages and gave "
            f"{'more' if given > count else given}",
            hint="this is a defect of the planner; please report it",
        )


def _make_plan(
    model: Path | str,
    budget: str | int,
    input_shapes: Mapping[str, Sequence[int]] | None,
    weights: WeightsFormat,
    suite: str,
) -> Plan:
    from undercroft.plan import plan as make_plan

    made: Plan = make_plan(
        model, budget=budget, input_shapes=input_shapes, weights=weights, suite=suite
    )
    return made


def _model_key(
    output: Path,
    key_file: Path | str | None,
    model_id: bytes | None,
    content_key: bytes | None,
) -> tuple[Path | None, ModelKey, bool]:
    """Return where the key is kept, the key, and whether it is yet to be stored."""
    given = None
    if content_key is not None:
        given = ModelKey(
            model_id=model_id or secrets.token_bytes(MODEL_ID_BYTES),
            content_key=content_key,
        )
        if key_file is None:
            return None, given, False
    path = (
        Path(key_file)
        if key_file is not None
        else output.with_name(f"{output.name}.key")
    )
    if not os.path.lexists(path):
        return path, given or ModelKey.generate(model_id=model_id), True
    stored = ModelKey.load(path)
    for name, wanted, found in (
        ("model id", model_id, stored.model_id),
        ("content key", content_key, stored.content_key),
    ):
        if wanted is not None and not hmac.compare_digest(wanted, found):
            raise FileAccessError(
                f"{path} holds another {name} than the one given",
                hint="name another key file, or leave it to the file",
            )
    return path, stored, False
