# SPDX-License-Identifier: Apache-2.0
"""The header of a sealed model: `spec/sealed-model.md`, section Header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from undercroft._format import cbor
from undercroft._format.cose import (
    Extensions,
    check_extensions,
    exact_bytes,
    exact_map,
    extensible_map,
    malformed,
    uint32,
)
from undercroft._format.suites import by_number
from undercroft._spec import (
    DTYPE_F32,
    DTYPE_I64,
    FORMAT_VERSION,
    MAX_DIM,
    MAX_IO,
    MAX_NAME_BYTES,
    MAX_PAGE_BYTES,
    MAX_PAGES,
    MAX_PROGRAM_PAGES,
    MAX_RANK,
    MIN_PAGE_BYTES,
    MODEL_ID_BYTES,
    PAGE_TAG_BYTES,
    SALT_BYTES,
)
from undercroft.tensor import TensorInfo

_WHAT: Final = "the header of the sealed model"
_DTYPES: Final = {DTYPE_F32: "float32", DTYPE_I64: "int64"}
_DTYPE_CODES: Final = {name: code for code, name in _DTYPES.items()}
# As they cross the boundary: an int64 is a whole number in float32 there.
_ELEMENT_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """What the header of a sealed model says; an existing one is valid.

    Attributes:
        model_id: 16 bytes, chosen by the provider, stable over versions.
        model_version: 32-bit number.
        suite: cipher suite, one of `SUITE_*`.
        page_bytes: plaintext bytes in a page.
        program_pages: pages of the program.
        resident_pages: pages that are decrypted once per load.
        streamed_pages: pages that are decrypted at each inference.
        salt: 32 random bytes, fresh for each sealing.
        budget_bytes: secure memory that the model needs.
        inputs: names and shapes, in order.
        outputs: names and shapes, in order.
        extensions: what else it says, which this version does not know.

    Raises:
        FormatError: on construction, when a value is over its limit.
    """

    model_id: bytes
    model_version: int
    suite: int
    page_bytes: int
    program_pages: int
    resident_pages: int
    streamed_pages: int
    salt: bytes
    budget_bytes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    extensions: Extensions = ()

    def __post_init__(self) -> None:
        exact_bytes(self.model_id, MODEL_ID_BYTES, _WHAT, "model_id")
        exact_bytes(self.salt, SALT_BYTES, _WHAT, "salt")
        check_extensions(self.extensions, _WHAT)
        for name in (
            "model_version",
            "suite",
            "page_bytes",
            "program_pages",
            "resident_pages",
            "streamed_pages",
            "budget_bytes",
        ):
            uint32(getattr(self, name), _WHAT, name)
        if by_number(self.suite) is None:
            raise malformed(_WHAT, f"cipher suite {self.suite} is not supported")
        if (
            not MIN_PAGE_BYTES <= self.page_bytes <= MAX_PAGE_BYTES
            or self.page_bytes % MIN_PAGE_BYTES
        ):
            raise malformed(
                _WHAT,
                f"page_bytes is {self.page_bytes}, not a multiple of {MIN_PAGE_BYTES} "
                f"up to {MAX_PAGE_BYTES}",
            )
        if not 1 <= self.program_pages <= MAX_PROGRAM_PAGES:
            raise malformed(
                _WHAT,
                f"{self.program_pages} program pages, not 1 to {MAX_PROGRAM_PAGES}",
            )
        if self.page_count > MAX_PAGES:
            raise malformed(_WHAT, f"{self.page_count} pages, more than {MAX_PAGES}")
        for tensors in (self.inputs, self.outputs):
            if not 1 <= len(tensors) <= MAX_IO:
                raise malformed(
                    _WHAT, f"{len(tensors)} inputs or outputs, not 1 to {MAX_IO}"
                )
            for tensor in tensors:
                _check_tensor(tensor, self.budget_bytes)
        for tensor in self.inputs:
            if tensor.dtype != _DTYPES[DTYPE_F32]:
                raise malformed(_WHAT, f"{tensor.name!r} is an input of {tensor.dtype}")

    @property
    def page_count(self) -> int:
        """Pages of all three kinds."""
        return self.program_pages + self.resident_pages + self.streamed_pages

    @property
    def slot_bytes(self) -> int:
        """Bytes that a page takes in the file: ciphertext and tag."""
        return self.page_bytes + PAGE_TAG_BYTES

    def encode(self) -> bytes:
        """Return the payload that is signed."""
        io = {
            1: [_encode_tensor(tensor) for tensor in self.inputs],
            2: [_encode_tensor(tensor) for tensor in self.outputs],
        }
        return cbor.encode(
            {
                1: FORMAT_VERSION,
                2: self.model_id,
                3: self.model_version,
                4: self.suite,
                5: self.page_bytes,
                6: self.program_pages,
                7: self.resident_pages,
                8: self.streamed_pages,
                9: self.salt,
                10: self.budget_bytes,
                11: cbor.encode(io),
                **dict(self.extensions),
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the payload of the header's COSE_Sign1.

        Raises:
            FormatError: it is not as `spec/sealed-model.md` says.
        """
        fields, extensions = extensible_map(
            cbor.decode(payload, _WHAT), tuple(range(1, 12)), (), _WHAT
        )
        if fields[1] != FORMAT_VERSION:
            raise malformed(
                _WHAT, f"format version {fields[1]!r} is not {FORMAT_VERSION}"
            )
        if not isinstance(fields[11], bytes):
            raise malformed(_WHAT, "io is not a byte string")
        what = f"io in {_WHAT}"
        io = exact_map(cbor.decode(fields[11], what), (1, 2), what)
        return cls(
            model_id=fields[2],
            model_version=fields[3],
            suite=fields[4],
            page_bytes=fields[5],
            program_pages=fields[6],
            resident_pages=fields[7],
            streamed_pages=fields[8],
            salt=fields[9],
            budget_bytes=fields[10],
            inputs=_parse_tensors(io[1]),
            outputs=_parse_tensors(io[2]),
            extensions=extensions,
        )


def _encode_tensor(tensor: TensorInfo) -> list[Any]:
    return [tensor.name, _DTYPE_CODES[tensor.dtype], list(tensor.shape)]


def _parse_tensors(value: object) -> tuple[TensorInfo, ...]:
    if not isinstance(value, list):
        raise malformed(_WHAT, "inputs or outputs are not an array")
    return tuple(_parse_tensor(item) for item in value)


def _parse_tensor(value: object) -> TensorInfo:
    if not isinstance(value, list) or len(value) != 3:
        raise malformed(_WHAT, "an input or output is not name, type and shape")
    name, dtype, shape = value
    if not isinstance(name, str) or not isinstance(shape, list):
        raise malformed(_WHAT, "an input or output is not name, type and shape")
    if not isinstance(dtype, int) or dtype not in _DTYPES:
        raise malformed(_WHAT, f"unknown element type {dtype!r}")
    for dim in shape:
        uint32(dim, _WHAT, "a dimension")
    return TensorInfo(name=name, shape=tuple(shape), dtype=_DTYPES[dtype])


def _check_tensor(tensor: TensorInfo, budget_bytes: int) -> None:
    if tensor.dtype not in _DTYPE_CODES:
        raise malformed(_WHAT, f"unknown element type {tensor.dtype!r}")
    if not 1 <= len(tensor.name.encode()) <= MAX_NAME_BYTES:
        raise malformed(_WHAT, f"a name is not 1 to {MAX_NAME_BYTES} bytes of UTF-8")
    if len(tensor.shape) > MAX_RANK:
        raise malformed(_WHAT, f"{tensor.name!r} has rank {len(tensor.shape)}")
    if not all(1 <= dim <= MAX_DIM for dim in tensor.shape):
        raise malformed(_WHAT, f"{tensor.name!r} has a dimension not 1 to {MAX_DIM}")
    # Inputs and outputs lie in the secure memory of the plan, so a file cannot
    # make a reader allocate more than it says it needs itself.
    if tensor.element_count * _ELEMENT_BYTES > budget_bytes:
        raise malformed(
            _WHAT, f"{tensor.name!r} is larger than the memory of the whole model"
        )
