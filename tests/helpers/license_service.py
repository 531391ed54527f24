# SPDX-License-Identifier: Apache-2.0
"""License services for tests: their folder, and servers that really listen."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from helpers.provider import test_key
from undercroft._device.agent import listen
from undercroft._provider import migrate, models
from undercroft._provider.app import create_app
from undercroft._provider.config import DATABASE_NAME, FILE_NAME, Config
from undercroft._provider.security import SCOPES, create_key
from undercroft._provider.server import open_service
from undercroft._provider.service import Service
from undercroft._provider.store import Store
from undercroft.factory import Authority, save_certificate
from undercroft.keys import ModelKey, ProviderKey

PROVIDER = ProviderKey.from_seed(test_key("provider"))
MODEL = ModelKey(bytes(range(16)), test_key("content"))
MODEL_ID = MODEL.model_id.hex()
MODEL_NAME = "detector"
ACME = Authority.create("ACME Devices")


@dataclass(frozen=True)
class ServiceFolder:
    """A service with one model, and an API key with every scope."""

    config: Path
    api_key: str

    @property
    def headers(self) -> dict[str, str]:
        """What requests carry."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def open(self) -> Service:
        """Open it in this process."""
        return open_service(self.config)

    def new_key(self, *scopes: str, rate: tuple[int, int] = (10**6, 60)) -> str:
        """Make a further API key."""
        config = Config.load(self.config)
        store = Store(config.database, config.folder)
        try:
            return create_key(store, "test", scopes or SCOPES, rate=rate)[1]
        finally:
            store.close()


def make_service(
    folder: Path, database: str = f"sqlite:///{DATABASE_NAME}", **settings: object
) -> ServiceFolder:
    """Do what `provider init`, `model add` and `api-key create` do."""
    PROVIDER.save(folder / "provider.pem")
    save_certificate(ACME.certificate, folder / "acme.pem")
    (folder / "model-keys").mkdir(mode=0o700)
    config = Config(
        key="provider.pem",
        database=database,
        manufacturers=("acme.pem",),
        folder=folder,
        **settings,  # type: ignore[arg-type]
    )
    config.save(folder / FILE_NAME)
    store = Store(database, folder)
    try:
        migrate.migrate(store)
        models.add(store, folder / "model-keys", MODEL, MODEL_NAME)
        _, api_key = create_key(store, "all", SCOPES, rate=(10**6, 60))
    finally:
        store.close()
    return ServiceFolder(folder / FILE_NAME, api_key)


@contextmanager
def listening_service(folder: ServiceFolder) -> Iterator[tuple[str, Service]]:
    """Serve in a thread of this process, which starts quickly; its URL, and itself."""
    service = folder.open()
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(create_app(lambda: service), log_level="warning", lifespan="on")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", service
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()
        assert not thread.is_alive(), "the service does not stop"


@contextmanager
def running_service(
    folder: ServiceFolder, *options: str, trusted: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Run `undercroft provider serve` until the block ends; gives its URL."""
    log = folder.config.parent / "serve.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "undercroft", "provider", "serve"),
                *("--config", str(folder.config), "--port", "0", *options),
            ],
            stderr=stream,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield _wait_for(process, log, trusted)
        process.send_signal(signal.SIGTERM)
        # With one worker uvicorn stops orderly, and then as the signal has it.
        assert process.wait(timeout=120) in {0, -signal.SIGTERM}, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_for(
    process: subprocess.Popen[bytes], log: Path, trusted: ssl.SSLContext | None
) -> str:
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        assert process.poll() is None, log.read_text()
        _, _, rest = log.read_text().partition("serving licenses on ")
        url = rest.partition("\n")[0]
        if url:
            try:
                health = httpx.get(
                    f"{url}/v1/health", timeout=30, verify=trusted or True
                )
                if health.status_code == 200:
                    return url
            except httpx.TransportError:
                pass
        time.sleep(0.1)
    raise AssertionError(f"the service does not start:\n{log.read_text()}")
