# SPDX-License-Identifier: Apache-2.0
"""Options and manners that several verbs share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from undercroft._format.suites import DEFAULT_SUITE, SUITES

Function = TypeVar("Function", bound=Callable[..., Any])


def json_option(function: Function) -> Function:
    """Add `--json`: one JSON document on standard output, nothing else."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document."
    )(function)


class InputShape(click.ParamType[tuple[str, tuple[int, ...]]]):
    """`NAME=1,3,224,224`."""

    name = "name=dims"

    def convert(
        self,
        value: Any,  # noqa: ANN401 as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, tuple[int, ...]]:
        """Return the name and its static dimensions."""
        if isinstance(value, tuple):
            return value
        name, separator, dims = str(value).partition("=")
        try:
            shape = tuple(int(dim) for dim in dims.split(","))
        except ValueError:
            shape = ()
        if not separator or not name or not shape or min(shape) < 1:
            self.fail(f"{value!r} is not like x=1,3,224,224", param, ctx)
        return name, shape


def input_shape_option(function: Function) -> Function:
    """Add `--input-shape`, which may be given once per input."""
    return click.option(
        "--input-shape",
        "input_shapes",
        type=InputShape(),
        multiple=True,
        metavar="NAME=DIMS",
        help="Static shape of an input, for models with dynamic shapes: "
        "x=1,3,224,224. May be repeated.",
    )(function)


def suite_option(function: Function) -> Function:
    """Add `--suite`."""
    return click.option(
        "--suite",
        type=click.Choice(tuple(SUITES)),
        default=DEFAULT_SUITE,
        show_default=True,
        help="Cipher suite to seal with. aegis-128l decrypts fastest; "
        "chacha20-poly1305 is for boards without Arm's cryptography extension.",
    )(function)


def budget_option(function: Function) -> Function:
    """Add `--budget`."""
    return click.option(
        "--budget",
        default="12MiB",
        show_default=True,
        metavar="SIZE",
        help="Secure memory the model may use: 12MiB, 512KiB, bytes.",
    )(function)


def model_argument(function: Function) -> Function:
    """Add `MODEL`; `located` finds the file that it means."""
    return click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))(
        function
    )


def located(
    model: Path, input_shapes: Mapping[str, tuple[int, ...]]
) -> tuple[Path, dict[str, tuple[int, ...]]]:
    """Return the ONNX file that a file name or the name of a known network means.

    Args:
        model: as given; a file of that name comes first.
        input_shapes: as given; what they do not say, a known network's own say.

    Raises:
        EnvironmentMissingError: a known network cannot be fetched or made.
    """
    from undercroft import _models

    name = str(model)
    if model.exists() or name not in _models.names():
        return model, dict(input_shapes)
    return _models.get(name), {**_models.info(name).input_shapes, **input_shapes}


def weights_option(function: Function) -> Function:
    """Add `--weights`."""
    return click.option(
        "--weights",
        type=click.Choice(["f32", "int8"]),
        default="f32",
        show_default=True,
        help="How weights are stored: as they are, or in 8 bits with a scale per "
        "output channel, a quarter of the size.",
    )(function)
