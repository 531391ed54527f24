# SPDX-License-Identifier: Apache-2.0
"""Options and manners that several verbs share."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from undercroft._format.suites import DEFAULT_SUITE, SUITES

if TYPE_CHECKING:
    from cryptography import x509

    from undercroft.attestation import Policy
    from undercroft.keys import Signer
    from undercroft.license import LicenseTerms
    from undercroft.seal import SealResult

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


_SPAN_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Span(click.ParamType[int]):
    """`90s`, `15m`, `12h`, `30d`, `4w`: a number of seconds."""

    name = "span"

    def convert(
        self,
        value: Any,  # noqa: ANN401 as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return the seconds."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]{1,10})([smhdw])", str(value))
        if not found:
            self.fail(f"{value!r} is not like 90s, 15m, 12h, 30d or 4w", param, ctx)
        return int(found[1]) * _SPAN_SECONDS[found[2]]


class Moment(click.ParamType[int]):
    """A date, a date and time (UTC without an offset), or a span from now."""

    name = "when"

    def convert(
        self,
        value: Any,  # noqa: ANN401 as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return seconds since 1970."""
        if isinstance(value, int):
            return value
        text = str(value)
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            return int(time.time()) + Span().convert(text, param, ctx)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return int(when.timestamp())


class Rate(click.ParamType[tuple[int, int]]):
    """`10/60s`: so many in so long."""

    name = "count/span"

    def convert(
        self,
        value: Any,  # noqa: ANN401 as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, int]:
        """Return count and seconds."""
        if isinstance(value, tuple):
            return value
        count, _, span = str(value).partition("/")
        if not (count.isascii() and count.isdigit() and len(count) <= 10 and span):
            self.fail(f"{value!r} is not like 10/60s or 1000/1d", param, ctx)
        return int(count), Span().convert(span, param, ctx)


TERM_NAMES = (
    "expires",
    "not_before",
    "grace",
    "max_inferences",
    "rate",
    "version_floor",
    "update_floor",
    "without_time",
    "sealed_input",
    "sealed_output",
)
"""What `terms_options` adds."""


def terms_options(function: Function) -> Function:
    """Add the conditions of a license; `terms_of` makes them of what click gives."""
    for option in reversed(
        (
            click.option(
                "--expires",
                type=Moment(),
                help="When it ends: 2027-01-31, 2027-01-31T12:00, or 30d from now.",
            ),
            click.option("--not-before", type=Moment(), help="When it begins."),
            click.option(
                "--grace", type=Span(), help="How long it holds after its end: 7d."
            ),
            click.option(
                "--max-inferences", type=click.IntRange(1), help="How many, ever."
            ),
            click.option("--rate", type=Rate(), help="How many in how long: 100/1h."),
            click.option(
                "--version-floor",
                type=click.IntRange(0),
                help="The lowest model version that it opens.",
            ),
            click.option(
                "--update-floor",
                type=click.IntRange(0),
                help="The device must have taken an update of this version.",
            ),
            click.option(
                "--without-time",
                is_flag=True,
                help="It holds on a device that was never told the time.",
            ),
            click.option(
                "--sealed-input",
                is_flag=True,
                help="Inferences must have sealed inputs (run --private).",
            ),
            click.option(
                "--sealed-output",
                is_flag=True,
                help="Inferences must have sealed outputs.",
            ),
        )
    ):
        function = option(function)
    return function


def terms_of(options: dict[str, Any]) -> LicenseTerms:
    """Return the conditions, from what `terms_options` added."""
    from undercroft._spec import FEATURE_SEALED_INPUT, FEATURE_SEALED_OUTPUT
    from undercroft.license import LicenseTerms

    features = options.pop("sealed_input") * FEATURE_SEALED_INPUT
    features |= options.pop("sealed_output") * FEATURE_SEALED_OUTPUT
    return LicenseTerms(
        grace_seconds=options.pop("grace"), features=features or None, **options
    )


def key_option(function: Function) -> Function:
    """Add `--key`; `signer_of` opens what it names."""
    return click.option(
        "--key",
        required=True,
        metavar="FILE|pkcs11:...",
        help="The provider key: a file (undercroft keys new), or a key in a token.",
    )(function)


def ask_secret(what: str) -> bytes:
    """Return a passphrase or PIN: of the environment, or asked for."""
    from undercroft.keys import PASSPHRASE_VARIABLE

    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given.encode()
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what}: give it in {PASSPHRASE_VARIABLE}")
    text: str = click.prompt(what, hide_input=True, err=True)
    return text.encode()


def signer_of(uri: str) -> Signer:
    """Open the signing key that `--key` names."""
    from undercroft.signers import open_signer

    return open_signer(uri, ask=ask_secret)


def policy_options(function: Function) -> Function:
    """Add what a device must show; `policy_of` makes a policy of it."""
    for option in reversed(
        (
            click.option(
                "--manufacturer",
                "manufacturers",
                type=click.Path(path_type=Path),
                multiple=True,
                help="Certificate (PEM) of a manufacturer that is believed. "
                "May be repeated.",
            ),
            click.option(
                "--build-id",
                "build_ids",
                multiple=True,
                metavar="HEX",
                help="Accept this build of the Trusted Application only. "
                "May be repeated.",
            ),
            click.option(
                "--allow-unendorsed",
                is_flag=True,
                help="Accept a device that no manufacturer vouches for.",
            ),
            click.option(
                "--allow-development",
                is_flag=True,
                help="Accept anything that answers, as the emulated board does: no "
                "endorsement, a development build, no hardware key.",
            ),
        )
    ):
        function = option(function)
    return function


def policy_of(options: dict[str, Any]) -> tuple[Policy, list[x509.Certificate]]:
    """Return policy and manufacturers, and say aloud what is given up."""
    from undercroft.attestation import Policy
    from undercroft.factory import load_certificate

    anything = options.pop("allow_development")
    try:
        expected = frozenset(bytes.fromhex(text) for text in options.pop("build_ids"))
    except ValueError as error:
        raise click.UsageError(f"--build-id: {error}") from error
    policy = Policy(
        endorsed=not (anything or options.pop("allow_unendorsed")),
        release=not anything,
        hardware_key=not anything,
        build_ids=expected,
    )
    for line in policy.given_up():
        click.echo(f"warning: {line}", err=True)
    return policy, [load_certificate(path) for path in options.pop("manufacturers")]


def echo_facts(facts: Mapping[str, Any], width: int) -> None:
    """Print facts for people, a line each, `width` columns for their names."""
    for name, value in facts.items():
        if name != "extensions" or value:
            click.echo(f"{name.replace('_', ' '):<{width}}{value}")


@contextlib.contextmanager
def sealing_progress(
    first: str, *, hidden: bool
) -> Iterator[Callable[[int, int], None]]:
    """Show a bar; give what is called with the pages that are done, and all.

    Args:
        first: what is being done until the first page is done.
        hidden: show nothing.
    """
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=hidden) as bar:
        task = bar.add_task(first, total=None)
        yield lambda done, total: bar.update(
            task, description="sealing", completed=done, total=total
        )


def summary_of_sealing(result: SealResult) -> dict[str, object]:
    """Return what was sealed, ready for JSON."""
    from undercroft._format.suites import suite_title

    header = result.header
    return {
        "path": str(result.path),
        "key_file": str(result.key_file),
        "file_bytes": result.file_bytes,
        "model_id": header.model_id.hex(),
        "model_version": header.model_version,
        "suite": suite_title(header.suite),
        "budget_bytes": header.budget_bytes,
        "page_bytes": header.page_bytes,
        "program_pages": header.program_pages,
        "resident_pages": header.resident_pages,
        "streamed_pages": header.streamed_pages,
    }


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
