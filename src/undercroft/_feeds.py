# SPDX-License-Identifier: Apache-2.0
"""What a caller feeds, held against what a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from undercroft.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft.tensor import TensorInfo


def checked_inputs(
    inputs: Sequence[TensorInfo], feed: Mapping[str, Any]
) -> list[npt.NDArray[np.float32]]:
    """Return a C-contiguous array for each input, of exactly its shape and type.

    Raises:
        InputError: a name, shape or type is not the model's; says which is.
    """
    if not isinstance(feed, Mapping):
        raise InputError(
            f"the inputs are a {type(feed).__name__}",
            hint='pass a dictionary: {"NAME": array}',
        )
    known = [info.name for info in inputs]
    unknown = [name for name in feed if name not in known]
    if unknown:
        raise InputError(
            f"the model has no input {quoted(unknown)}; it has {quoted(known)}"
        )
    missing = [name for name in known if name not in feed]
    if missing:
        raise InputError(f"missing input {quoted(missing)}")
    return [_checked(info, feed[info.name]) for info in inputs]


def _checked(info: TensorInfo, value: Any) -> npt.NDArray[np.float32]:  # noqa: ANN401 whatever a caller feeds
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"input {info.name!r} is no array: {error}") from error
    expected = f"expected {info.dtype} {list(info.shape)}"
    if array.dtype != np.dtype(info.dtype):
        raise InputError(
            f"input {info.name!r} has type {array.dtype}; {expected}",
            hint=f"convert it with .astype(numpy.{info.dtype})",
        )
    if array.shape != info.shape:
        raise InputError(
            f"input {info.name!r} has shape {list(array.shape)}; {expected}"
        )
    return np.ascontiguousarray(array)


def quoted(names: Sequence[Any]) -> str:
    """Return names as a message lists them."""
    return ", ".join(repr(name) for name in names)
