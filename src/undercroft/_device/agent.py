# SPDX-License-Identifier: Apache-2.0
"""The agent: serves a device's sealed models over HTTP.

Open Inference Protocol version 2 (health, metadata, inference with the binary
tensor extension, model repository), as Triton's clients speak it, and below
`/v2/undercroft` what a sealed model needs besides: the device's key, uploads and
statistics (`docs/agent.md`).

The agent is not trusted and needs no trust: it sees sealed pages, licenses wrapped
to the device, and the inputs and outputs that its own clients exchange with it, unless
these seal them to the secure world (`spec/private-io.md`).

In the board's guest: `python3 -m undercroft._device.agent --port 8080 --device tee:`.
Imports are late on purpose: under emulation they are what a start costs.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from undercroft._device import open_device
from undercroft._device.clock import counts_instructions
from undercroft._device.faults import RequestError
from undercroft._device.pool import ModelPool
from undercroft._device.store import ModelStore
from undercroft._device.web import (
    EXCEPTION_HANDLERS,
    content_length,
    header_length,
    json_response,
    read_body,
    read_json,
)
from undercroft._spec import MAX_LICENSE_BYTES, MAX_NONCE_BYTES, MAX_UPDATE_BYTES
from undercroft.errors import DeviceError, Error, InputError

if TYPE_CHECKING:
    import uvicorn

    from undercroft._device.base import Device
    from undercroft._device.parcel import Parcel
    from undercroft._device.records import Stats
    from undercroft.tensor import TensorInfo

DEFAULT_PORT: Final = 8080
DEFAULT_FOLDER: Final = Path("/var/lib/undercroft")
DEFAULT_MAX_SEALED_BYTES: Final = 1 << 30
MAX_WAITING: Final = 64
EXTENSIONS: Final = ["binary_tensor_data", "model_repository", "undercroft"]
_STOP_SECONDS: Final = 5
_WARM_UP_SECONDS: Final = 1.0
_BACKLOG: Final = 128

_log = logging.getLogger("undercroft.agent")
_T = TypeVar("_T")


class Agent:
    """The HTTP application of one device and one folder."""

    def __init__(
        self,
        device: Device,
        folder: Path,
        *,
        max_sealed_bytes: int = DEFAULT_MAX_SEALED_BYTES,
        preload: Sequence[str] = (),
    ) -> None:
        """Prepare the application in `app`; nothing is entered yet.

        Args:
            device: where models run; the agent closes it.
            folder: keeps sealed models and licenses across restarts.
            max_sealed_bytes: the largest sealed file that is taken.
            preload: models to load at the start.
        """
        self._device = device
        self._store = ModelStore(folder)
        self._pool = ModelPool(device, self._store)
        self._max_sealed_bytes = max_sealed_bytes
        self._preload = list(preload)
        self._last_stats: dict[str, Stats] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="undercroft-device")
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._probed = False
        self.app = self._make_app()

    # ---- Open Inference Protocol: server ----

    async def _server(self, _: Request) -> Response:
        from undercroft import __version__

        return json_response(
            {"name": "undercroft", "version": __version__, "extensions": EXTENSIONS}
        )

    async def _live(self, _: Request) -> Response:
        return json_response({"live": True})

    async def _ready(self, request: Request) -> Response:
        if not self._probed:
            await self._on_device(request, self._pool.info)
            self._probed = True
        return json_response({"ready": True})

    # ---- Open Inference Protocol: models ----

    async def _metadata(self, request: Request) -> Response:
        name, parcel = self._named_parcel(request)
        return json_response(
            {
                "name": name,
                "versions": [str(parcel.header.model_version)],
                "platform": "undercroft",
                "inputs": _describe(parcel.inputs),
                "outputs": _describe(parcel.outputs),
            }
        )

    async def _model_ready(self, request: Request) -> Response:
        name, _ = self._named_parcel(request)
        if name not in self._pool.loaded:
            raise RequestError(
                HTTPStatus.CONFLICT,
                f"model {name!r} is not loaded",
                hint=self._pool.reason(name)
                or f"POST to /v2/repository/models/{name}/load",
            )
        return json_response({"name": name, "ready": True})

    async def _infer(self, request: Request) -> Response:
        from undercroft._device import oip

        name, parcel = self._named_parcel(request)
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise RequestError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"content encoding {encoding!r} is not supported",
                hint="send the request uncompressed",
            )
        body = await read_body(request, oip.max_request_bytes(parcel.inputs))
        asked = oip.parse_request(
            body, header_length(request), parcel.inputs, parcel.outputs
        )
        if asked.question is None:
            sealed = b""
            outputs, stats = await self._on_device(
                request, partial(self._pool.infer, name, asked.inputs)
            )
        else:
            sealed, outputs, stats = await self._on_device(
                request, partial(self._pool.ask, name, asked.question, asked.inputs)
            )
        self._last_stats[name] = stats
        content, head = oip.encode_answer(
            name,
            str(parcel.header.model_version),
            asked,
            outputs,
            stats.as_parameters(),
            sealed,
        )
        if head is None:
            return Response(content, media_type="application/json")
        return Response(
            content,
            media_type="application/octet-stream",
            headers={oip.HEADER_LENGTH: str(head)},
        )

    # ---- Open Inference Protocol: repository ----

    async def _index(self, request: Request) -> Response:
        asked = await read_json(request)
        loaded = self._pool.loaded
        rows = []
        for name in self._store.names():
            if asked.get("ready") and name not in loaded:
                continue
            try:
                version = str(self._store.parcel(name).header.model_version)
                reason = self._pool.reason(name)
            except Error as error:
                version, reason = "", error.message
            state = "READY" if name in loaded else "UNAVAILABLE"
            rows.append(
                {"name": name, "version": version, "state": state, "reason": reason}
            )
        return json_response(rows)

    async def _load(self, request: Request) -> Response:
        name = request.path_params["model"]
        parameters = (await read_json(request)).get("parameters")
        parameters = parameters if isinstance(parameters, dict) else {}
        foreign = [key for key in parameters if key != "undercroft_evictable"]
        if foreign:
            raise InputError(
                f"unknown load parameters: {', '.join(map(repr, foreign))}",
                hint="sealed models take no configuration; upload the file with "
                f"PUT /v2/undercroft/models/{name}/sealed",
            )
        evictable = parameters.get("undercroft_evictable") is True
        await self._on_device(
            request, partial(self._pool.load, name, evictable=evictable)
        )
        return json_response({})

    async def _unload(self, request: Request) -> Response:
        name = request.path_params["model"]
        await read_json(request)
        self._store.parcel(name)
        await self._on_device(request, partial(self._pool.unload, name))
        return json_response({})

    # ---- our extension ----

    async def _info(self, request: Request) -> Response:
        info = await self._on_device(request, self._pool.info)
        return json_response(
            {
                "device": info.as_dict(),
                "counts_instructions": counts_instructions(),
                "loaded": sorted(self._pool.loaded),
            }
        )

    async def _header(self, request: Request) -> Response:
        _, parcel = self._named_parcel(request)
        return Response(parcel.header_bytes, media_type="application/cose")

    async def _device_key(self, request: Request) -> Response:
        key = await self._on_device(request, self._pool.device_key)
        return Response(key, media_type="application/cose-key")

    async def _attest(self, request: Request) -> Response:
        nonce = bytes(await read_body(request, MAX_NONCE_BYTES))
        evidence = await self._on_device(request, partial(self._pool.attest, nonce))
        return Response(evidence, media_type="application/eat+cwt")

    async def _update(self, request: Request) -> Response:
        body = await read_body(request, MAX_UPDATE_BYTES)
        await self._on_device(request, partial(self._pool.update, bytes(body)))
        return json_response({})

    async def _describe_upload(self, request: Request) -> Response:
        name, parcel = self._named_parcel(request)
        return json_response(
            {
                "name": name,
                "sealed_sha256": self._store.sha256(name),
                "has_license": self._store.has_license(name),
                "budget_bytes": parcel.header.budget_bytes,
                "loaded": name in self._pool.loaded,
            }
        )

    async def _put_sealed(self, request: Request) -> Response:
        name = request.path_params["model"]
        self._store.sealed_path(name)
        self._store.trim(self._pool.loaded | {name})
        digest = await self._receive(
            request, self._max_sealed_bytes, partial(self._store.install_sealed, name)
        )
        return json_response({"sha256": digest}, HTTPStatus.CREATED)

    async def _put_license(self, request: Request) -> Response:
        name = request.path_params["model"]
        self._store.sealed_path(name)
        digest = await self._receive(
            request, MAX_LICENSE_BYTES, partial(self._store.install_license, name)
        )
        return json_response({"sha256": digest}, HTTPStatus.CREATED)

    async def _remove(self, request: Request) -> Response:
        name = request.path_params["model"]
        self._store.sealed_path(name)
        await self._on_device(request, partial(self._pool.unload, name))
        self._store.remove(name)
        self._last_stats.pop(name, None)
        return json_response({})

    async def _stats(self, request: Request) -> Response:
        name, _ = self._named_parcel(request)
        stats = self._last_stats.get(name)
        if stats is None:
            raise RequestError(
                HTTPStatus.NOT_FOUND, f"model {name!r} has not run since the start"
            )
        return json_response(stats.as_dict())

    # ---- how requests reach the device ----

    async def _on_device(self, request: Request, work: Callable[[], _T]) -> _T:
        """Run `work` in the worker thread when it is this request's turn.

        A client that went away while waiting loses its turn; one that goes away
        later costs the rest of its own inference and nobody else anything.
        """
        if self._waiting >= MAX_WAITING:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{self._waiting} requests are waiting for the device",
                hint="try again later",
            )
        self._waiting += 1
        try:
            async with self._turn:
                if await request.is_disconnected():
                    raise ClientDisconnect
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._worker, work)
        finally:
            self._waiting -= 1

    async def _receive(
        self,
        request: Request,
        max_bytes: int,
        install: Callable[[Any], str],
    ) -> str:
        loop = asyncio.get_running_loop()
        with self._store.receive(max_bytes, content_length(request)) as upload:
            async for chunk in request.stream():
                upload.write(chunk)
            return await loop.run_in_executor(None, install, upload)

    def _named_parcel(self, request: Request) -> tuple[str, Parcel]:
        name = request.path_params["model"]
        parcel = self._store.parcel(name)
        asked = request.path_params.get("version")
        version = str(parcel.header.model_version)
        if asked not in {None, version}:
            raise RequestError(
                HTTPStatus.NOT_FOUND, f"model {name!r} has version {version}"
            )
        return name, parcel

    # ---- the application ----

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        for name in self._preload:
            self._worker.submit(self._load_at_start, name)
        # Later, so that it does not slow down the start: the first inference
        # is not to pay for these imports, but neither is the first request.
        loop = asyncio.get_running_loop()
        later = loop.call_later(_WARM_UP_SECONDS, self._worker.submit, _warm_up)
        yield
        later.cancel()
        self._worker.submit(self._pool.close)
        self._worker.shutdown(wait=True)

    def _load_at_start(self, name: str) -> None:
        try:
            self._pool.load(name, evictable=False)
        except Error as error:
            _log.error("model %r was not loaded: %s", name, error.diagnostics())

    def _make_app(self) -> Starlette:
        model = "/v2/models/{model}"
        version = model + "/versions/{version}"
        repository = "/v2/repository"
        own = "/v2/undercroft"
        return Starlette(
            routes=[
                Route("/v2", self._server),
                Route("/v2/health/live", self._live),
                Route("/v2/health/ready", self._ready),
                Route(model, self._metadata),
                Route(model + "/ready", self._model_ready),
                Route(model + "/infer", self._infer, methods=["POST"]),
                Route(version, self._metadata),
                Route(version + "/ready", self._model_ready),
                Route(version + "/infer", self._infer, methods=["POST"]),
                Route(repository + "/index", self._index, methods=["POST"]),
                Route(
                    repository + "/models/{model}/load", self._load, methods=["POST"]
                ),
                Route(
                    repository + "/models/{model}/unload",
                    self._unload,
                    methods=["POST"],
                ),
                Route(own, self._info),
                Route(own + "/device-key", self._device_key),
                Route(own + "/attest", self._attest, methods=["POST"]),
                Route(own + "/update", self._update, methods=["POST"]),
                Route(own + "/models/{model}", self._describe_upload),
                Route(own + "/models/{model}", self._remove, methods=["DELETE"]),
                Route(
                    own + "/models/{model}/sealed", self._put_sealed, methods=["PUT"]
                ),
                Route(
                    own + "/models/{model}/license", self._put_license, methods=["PUT"]
                ),
                Route(own + "/models/{model}/header", self._header),
                Route(own + "/models/{model}/stats", self._stats),
            ],
            exception_handlers=EXCEPTION_HANDLERS,
            lifespan=self._lifespan,
        )


def _warm_up() -> None:
    from undercroft._device import client, oip  # noqa: F401


def _describe(infos: Sequence[TensorInfo]) -> list[dict[str, Any]]:
    return [
        {"name": info.name, "datatype": "FP32", "shape": list(info.shape)}
        for info in infos
    ]


# ---- running it ----


def listen(address: str, port: int) -> socket.socket:
    """Take the port.

    Raises:
        DeviceError: it is in use, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        # Clients that come before the application is up wait instead of failing.
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        what = "in use" if in_use else str(error)
        raise DeviceError(
            f"cannot listen on {address} port {port}: {what}",
            hint="give another --port, or 0 for any free one",
        ) from error
    return listener


def make_server(agent: Agent) -> uvicorn.Server:
    """Return the HTTP server of an agent, not started."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            agent.app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )


def serve(agent: Agent, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM."""
    make_server(agent).run(sockets=[listener])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent as the board's guest does; returns the exit code."""
    parser = argparse.ArgumentParser(prog="undercroft-agent", description=__doc__)
    parser.add_argument("--device", default="tee:", help="tee: or host:")
    parser.add_argument("--address", default="0.0.0.0")  # noqa: S104 the guest's only network is the host's loopback
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--load", action="append", default=[], metavar="MODEL")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="agent: %(message)s")
    try:
        listener = listen(options.address, options.port)
        agent = Agent(open_device(options.device), options.folder, preload=options.load)
        _log.info("%s on port %d", options.device, listener.getsockname()[1])
        serve(agent, listener)
    except Error as error:
        _log.error("%s", error.diagnostics())
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())


__all__ = ["Agent", "listen", "main", "make_server", "serve"]
