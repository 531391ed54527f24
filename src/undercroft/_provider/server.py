# SPDX-License-Identifier: Apache-2.0
"""Running the service: one process, or several workers that share a database."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from undercroft._provider import migrate
from undercroft._provider.app import create_app
from undercroft._provider.config import Config
from undercroft._provider.service import Service
from undercroft.errors import Error, InputError

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from undercroft.signers import Ask

CONFIG_VARIABLE: Final = "UNDERCROFT_PROVIDER_CONFIG"
_FACTORY: Final = "undercroft._provider.server:worker_app"
_STOP_SECONDS: Final = 10
_HUNG_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate chain and its key, both in PEM."""

    certificate: Path
    key: Path


def open_service(path: Path, *, ask: Ask | None = None) -> Service:
    """Open the service of a settings file, with everything that it will need.

    Raises:
        Error: what cannot be used, and how to mend it: settings, signing key,
            certificates, a database that cannot be reached or is not migrated, a
            content key that is missing or open to others.
    """
    service = Service.open(Config.load(path), ask=ask)
    try:
        migrate.check(service.store)
        _check_model_keys(service)
    except BaseException:
        service.close()
        raise
    return service


def _check_model_keys(service: Service) -> None:
    from sqlalchemy import select

    from undercroft._provider.tables import Model

    with service.store.read() as session:
        ids = list(session.scalars(select(Model.model_id)))
    for model_id in ids:
        service.keyring.read(model_id)


def worker_app() -> FastAPI:
    """Make the application of a worker process."""
    _start_log()
    path = Path(os.environ[CONFIG_VARIABLE])
    return create_app(lambda: open_service(path, ask=_from_environment))


def _from_environment(what: str) -> bytes:
    from undercroft.keys import PASSPHRASE_VARIABLE

    text = os.environ.get(PASSPHRASE_VARIABLE)
    if text is None:
        raise InputError(
            f"{what}: several workers cannot ask for it",
            hint=f"give it in {PASSPHRASE_VARIABLE}, or use --workers 1",
        )
    return text.encode()


def serve(
    path: Path,
    listener: socket.socket,
    *,
    workers: int = 1,
    tls: Tls | None = None,
    ask: Ask | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM.

    Args:
        path: the settings file.
        listener: where requests come from.
        workers: how many processes.
        tls: for HTTPS.
        ask: asks for a passphrase or PIN; with several workers it is not asked.

    Returns:
        The exit code.

    Raises:
        Error: as `open_service`; nothing was served.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    _start_log()
    one = workers == 1
    service = open_service(path, ask=ask if one else _from_environment)
    if not one:
        # Only to see that all is well; each worker opens its own.
        service.close()
        os.environ[CONFIG_VARIABLE] = str(path.absolute())
    config = uvicorn.Config(
        create_app(lambda: service) if one else _FACTORY,
        factory=not one,
        workers=workers,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=_STOP_SECONDS,
        # A worker that is slow on a busy machine is not one that hangs; signals wait
        # for the answer of one that is starting, though.
        timeout_worker_healthcheck=_HUNG_SECONDS,
        ssl_certfile=str(tls.certificate) if tls else None,
        ssl_keyfile=str(tls.key) if tls else None,
    )
    server = uvicorn.Server(config)
    if one:
        server.run(sockets=[listener])
        return 0 if server.started else 1
    Multiprocess(config, sockets=[listener]).run()
    return 0


def _start_log() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="provider: %(message)s"
    )
    for name in ("alembic", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Of a lost connection the store says a line; the pool would print a traceback.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


__all__ = ["Error", "Tls", "open_service", "serve"]
