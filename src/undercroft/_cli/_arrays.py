# SPDX-License-Identifier: Apache-2.0
"""Arrays on the command line: `--input NAME=FILE`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from undercroft.errors import FileAccessError, FileWriteError, InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from undercroft.tensor import TensorInfo

Function = TypeVar("Function", bound=Callable[..., Any])


def input_option(function: Function) -> Function:
    """Add `--input`, which may be given once per input."""
    return click.option(
        "--input",
        "inputs",
        multiple=True,
        callback=_named_files,
        metavar="NAME=FILE",
        help="An input: a .npy file, or raw little-endian float32 of exactly its "
        "size. May be repeated.",
    )(function)


def _named_files(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, Path], ...]:
    pairs = []
    for value in values:
        name, _, path = value.partition("=")
        if not name or not path:
            raise click.BadParameter(
                f"{value!r} is not like x=input.npy", ctx=context, param=parameter
            )
        pairs.append((name, Path(path)))
    return tuple(pairs)


def read_array(path: Path, info: TensorInfo) -> npt.NDArray[np.float32]:
    """Read an input: `.npy`, or raw elements in any other file.

    Raises:
        FileAccessError: it cannot be read.
        InputError: it is not an array of the input's shape and type.
    """
    import numpy as np

    expected = f"expected {info.dtype} {list(info.shape)}"
    try:
        if path.suffix == ".npy":
            array = np.load(path, allow_pickle=False)
        else:
            size, wanted = path.stat().st_size, info.element_count * 4
            if size != wanted:
                raise InputError(
                    f"{path} has {size} bytes and input {info.name!r} takes {wanted}; "
                    + expected
                )
            array = np.fromfile(path, dtype="<f4").reshape(info.shape)
    except OSError as error:
        raise FileAccessError(
            f"{path} cannot be read: {error.strerror or error}", hint="check the path"
        ) from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no array: {error}", hint=expected) from error
    if array.shape != info.shape or array.dtype != np.dtype(info.dtype):
        raise InputError(
            f"{path} holds {array.dtype} {list(array.shape)}; input {info.name!r}: "
            + expected
        )
    return np.ascontiguousarray(array)


def read_arrays(
    files: Sequence[tuple[str, Path]], infos: Sequence[TensorInfo]
) -> dict[str, npt.NDArray[np.float32]]:
    """Read the inputs that are given.

    Raises:
        FileAccessError: a file cannot be read.
        InputError: an unknown name, or not what the input takes.
    """
    known = {info.name: info for info in infos}
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    for name, path in files:
        if name not in known:
            raise InputError(
                f"the model has no input {name!r}; it has "
                + ", ".join(repr(other) for other in known)
            )
        if name in arrays:
            raise InputError(f"input {name!r} is given twice")
        arrays[name] = read_array(path, known[name])
    return arrays


def write_array(folder: Path, name: str, array: npt.NDArray[np.float32]) -> Path:
    """Write an output as `NAME.npy`, with a name that is safe as a file's.

    Raises:
        FileWriteError: it cannot be written.
    """
    import io

    import numpy as np

    from undercroft._format.files import write_file

    safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in name)
    path = folder / f"{safe.lstrip('.') or 'output'}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileWriteError(
            f"{folder} cannot be made: {error.strerror}", hint="choose another folder"
        ) from error
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    write_file(path, data.getvalue())
    return path
