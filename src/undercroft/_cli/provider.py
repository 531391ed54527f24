# SPDX-License-Identifier: Apache-2.0
"""`undercroft provider`: a license service."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from undercroft._cli import print_json
from undercroft._cli._common import (
    Moment,
    Rate,
    ask_secret,
    json_option,
    key_option,
    policy_options,
)

if TYPE_CHECKING:
    from undercroft._provider.config import Config
    from undercroft._provider.store import Store

Function = TypeVar("Function", bound=Callable[..., Any])
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def _config_option(function: Function) -> Function:
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        default=Path("provider/provider.toml"),
        show_default=True,
        help="The settings that `undercroft provider init` wrote.",
    )(function)


@click.group()
def command() -> None:
    """Enrol devices and issue licenses over HTTP, with a database behind it.

    \b
    Example:
      undercroft provider init --key provider.pem --manufacturer acme.pem
      undercroft provider model add model.sealed.key --name detector
      undercroft provider api-key create station --scope enrol --scope issue
      undercroft provider serve
    """  # noqa: D301 click wants the character itself
    _need_packages()


@command.command()
@click.argument(
    "folder", type=click.Path(path_type=Path), default=Path("provider"), required=False
)
@key_option
@click.option(
    "--database",
    metavar="URL",
    help="postgresql://USER:PASSWORD@HOST/NAME, or sqlite:///PATH. Default: SQLite in "
    "the folder.",
)
@policy_options
@json_option
def init(
    folder: Path,
    key: str,
    database: str | None,
    as_json: bool,
    manufacturers: tuple[Path, ...],
    **demands: Any,  # noqa: ANN401 what policy_options adds
) -> None:
    """Write the settings of a service into FOLDER, and make its tables.

    A database that has the tables already is used as it is.

    \b
    Example:
      undercroft provider init --key provider.pem --manufacturer acme.pem
      undercroft provider init service --key 'pkcs11:token=T;object=K' \\
          --database postgresql://undercroft@db/undercroft
    """  # noqa: D301 click wants the character itself
    from undercroft._provider import config as settings
    from undercroft._provider import migrate
    from undercroft._provider.service import Service, policy_of
    from undercroft.errors import FileWriteError

    path = folder / settings.FILE_NAME
    config = settings.Config(
        key=_resolved(key),
        database=database or f"sqlite:///{settings.DATABASE_NAME}",
        manufacturers=tuple(str(item.absolute()) for item in manufacturers),
        build_ids=demands.pop("build_ids"),
        **demands,
        folder=folder.absolute(),
    )
    for line in policy_of(config).given_up():
        click.echo(f"warning: {line}", err=True)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.path(config.model_keys).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise FileWriteError(
            f"{error.filename} cannot be made: {error.strerror}",
            hint="check the folder and its permissions",
        ) from error
    # Everything is opened before the settings are written: what was written works.
    service = Service.open(config, ask=ask_secret)
    try:
        with _plain_errors():
            _, revision = migrate.migrate(service.store)
        key_id = service.keyring.public().key_id.hex()
    finally:
        service.close()
    config.save(path)
    facts = {"config": str(path), "revision": revision, "provider_key_id": key_id}
    if as_json:
        print_json(facts)
        return
    click.echo(
        f"{path}: settings of a service that signs with {key_id}\n"
        "next: undercroft provider model add, provider api-key create, provider serve"
    )


@command.command("serve")
@_config_option
@click.option(
    "--address", default="127.0.0.1", show_default=True, help="Where to listen."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8090,
    show_default=True,
    help="0 takes any free one.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that share the database.",
)
@click.option(
    "--tls-certificate",
    type=click.Path(path_type=Path),
    help="Certificate chain (PEM) for HTTPS.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key (PEM).")
@click.option(
    "--behind-proxy",
    is_flag=True,
    help="Listen on another address than the loopback without TLS: API keys are "
    "readable on the way to a proxy that does TLS.",
)
def serve_command(
    config_file: Path,
    address: str,
    port: int,
    workers: int,
    tls_certificate: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    \b
    Example:
      undercroft provider serve
      undercroft provider serve --address 0.0.0.0 --port 443 --workers 4 \\
          --tls-certificate chain.pem --tls-key tls.key
    """  # noqa: D301 click wants the character itself
    from undercroft._device.agent import listen
    from undercroft._format.files import read_secret_file
    from undercroft._provider.server import Tls, serve

    if (tls_certificate is None) != (tls_key is None):
        raise click.UsageError("--tls-certificate and --tls-key go together")
    if tls_key is None and address not in _LOOPBACK and not behind_proxy:
        raise click.UsageError(
            f"on {address} API keys would be readable on their way: give "
            "--tls-certificate and --tls-key, or --behind-proxy where a proxy does TLS"
        )
    tls = None
    if tls_certificate is not None and tls_key is not None:
        read_secret_file(tls_key, limit_bytes=65536, what="TLS key")
        tls = Tls(tls_certificate, tls_key)
    with _plain_errors(), listen(address, port) as listener:
        host, bound = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if tls else "http"
        click.echo(f"serving licenses on {scheme}://{shown}:{bound}", err=True)
        code = serve(config_file, listener, workers=workers, tls=tls, ask=ask_secret)
    sys.exit(code)


@command.command()
@_config_option
@json_option
def migrate(config_file: Path, as_json: bool) -> None:
    """Bring the database to the tables of this version. Back it up before.

    \b
    Example: undercroft provider migrate
    """  # noqa: D301 click wants the character itself
    from undercroft._provider.migrate import migrate as bring_up

    with _opened(config_file, checked=False) as (_, store):
        before, after = bring_up(store)
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        click.echo(f"the database has the tables of {after} already")
    else:
        click.echo(f"the database has the tables of {after} now (before: {before})")


# ---- models ----


@command.group()
def model() -> None:
    """Add and list the models that licenses can be issued for."""


@model.command("add")
@click.argument("model_key", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="A name for people and for requests.")
@_config_option
@json_option
def add_model(model_key: Path, name: str, config_file: Path, as_json: bool) -> None:
    """Copy MODEL_KEY, which `undercroft seal` wrote, to the service's own keys.

    The content key stays in that file: it does not go into the database.

    \b
    Example: undercroft provider model add model.sealed.key --name detector
    """  # noqa: D301 click wants the character itself
    from undercroft._provider.models import add
    from undercroft.keys import ModelKey

    with _opened(config_file) as (config, store):
        key = ModelKey.load(model_key)
        row = add(store, config.path(config.model_keys), key, name)
    if as_json:
        print_json({"model_id": row.model_id, "name": row.name})
    else:
        click.echo(f"{row.name}: model {row.model_id}")


@model.command("list")
@_config_option
@json_option
def list_models(config_file: Path, as_json: bool) -> None:
    """List the models, and how many current licenses each has.

    \b
    Example: undercroft provider model list
    """  # noqa: D301 click wants the character itself
    from undercroft._provider import listing

    with _opened(config_file) as (_, store), store.read() as session:
        rows = [
            {"model_id": row.model_id, "name": row.name, "current_licenses": count}
            for row, count in listing.models(session)
        ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['model_id']}  {row['current_licenses']:>9,}  {row['name']}")


# ---- API keys ----


@command.group("api-key")
def api_key() -> None:
    """Create, list and revoke the keys that requests come with."""


@api_key.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "enrol", "issue", "revoke", "audit"]),
    default=("read",),
    show_default=True,
    help="What it may do. May be repeated.",
)
@click.option("--expires", type=Moment(), help="When it ends: 2027-01-31, or 90d.")
@click.option(
    "--rate",
    type=Rate(),
    default="600/1m",
    show_default=True,
    help="How many requests in how long.",
)
@_config_option
@json_option
def create_api_key(
    name: str,
    scopes: tuple[str, ...],
    expires: int | None,
    rate: tuple[int, int],
    config_file: Path,
    as_json: bool,
) -> None:
    """Make an API key for NAME, and show it this once.

    \b
    Example:
      undercroft provider api-key create station-3 --scope enrol --scope issue \\
          --expires 90d --rate 100/1m
    """  # noqa: D301 click wants the character itself
    from undercroft._provider.security import create_key, describe_key

    with _opened(config_file) as (_, store):
        row, secret = create_key(store, name, scopes, rate=rate, expires_at=expires)
    if as_json:
        print_json({**describe_key(row), "api_key": secret})
        return
    click.echo(secret)
    click.echo(
        f"key {row.key_id} of {row.name}, for: {row.scopes}. It is not shown again.",
        err=True,
    )


@api_key.command("list")
@_config_option
@json_option
def list_api_keys(config_file: Path, as_json: bool) -> None:
    """List the API keys, without their secrets.

    \b
    Example: undercroft provider api-key list
    """  # noqa: D301 click wants the character itself
    from undercroft._provider.security import describe_key, list_keys

    with _opened(config_file) as (_, store):
        rows = [describe_key(row) for row in list_keys(store)]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        ends = row["expires_at"]
        until = f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%d}" if ends else "no end"
        click.echo(
            f"{row['key_id']}  {row['state']:<8} {until:<11} {row['rate']:<10} "
            f"{row['name']}: {' '.join(row['scopes'])}"
        )


@api_key.command("revoke")
@click.argument("key_id")
@_config_option
@json_option
def revoke_api_key(key_id: str, config_file: Path, as_json: bool) -> None:
    """End the API key KEY_ID at once.

    \b
    Example: undercroft provider api-key revoke 0123456789abcdef
    """  # noqa: D301 click wants the character itself
    from undercroft._provider.security import describe_key, revoke_key

    with _opened(config_file) as (_, store):
        row = revoke_key(store, key_id)
    if as_json:
        print_json(describe_key(row))
    else:
        click.echo(f"key {row.key_id} of {row.name} holds no longer")


# ---- what they share ----


@contextmanager
def _opened(path: Path, *, checked: bool = True) -> Iterator[tuple[Config, Store]]:
    from undercroft._provider import migrate as migrations
    from undercroft._provider.config import Config
    from undercroft._provider.store import Store

    config = Config.load(path)
    store = Store(config.database, config.folder)
    with _plain_errors():
        try:
            if checked:
                migrations.check(store)
            yield config, store
        finally:
            store.close()


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Say for a person here what a client is told in another way."""
    from undercroft._provider.problems import ProblemError
    from undercroft.errors import EnvironmentMissingError

    try:
        yield
    except ProblemError as problem:
        if problem.kind != "database-unavailable":
            raise
        cause = problem.__cause__
        reason = getattr(cause, "orig", None) or cause
        raise EnvironmentMissingError(
            f"the database cannot be used: {reason}",
            hint="start it, or mend `database` in the settings",
        ) from problem


def _resolved(key: str) -> str:
    if key.startswith("pkcs11:"):
        return key
    return str(Path(key.removeprefix("file:")).absolute())


def _need_packages() -> None:
    from undercroft.errors import EnvironmentMissingError

    try:
        import alembic  # noqa: F401
        import fastapi  # noqa: F401
        import pg8000  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise EnvironmentMissingError(
            f"the license service needs {error.name}",
            hint="pip install 'undercroft[provider]'",
        ) from error
