# SPDX-License-Identifier: Apache-2.0
"""The `host:` device: the engine in this process, without any protection.

It runs the very checks and operators of the Trusted Application, on this
machine, where everybody who can read this process can read the model. For
development, tests and measurements; each open says so.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from undercroft._device.invoker import PARAMETERS, BytesLike, Param, Reply
from undercroft._device.local import LocalDevice
from undercroft._device.sizes import parse_size
from undercroft._format.files import SECRET_MODE, read_secret_file, write_file
from undercroft._spec import DEFAULT_ARENA_BYTES, Command
from undercroft.errors import (
    DeviceError,
    DeviceLostError,
    EnvironmentMissingError,
    FileWriteError,
    FormatError,
)

if TYPE_CHECKING:
    from undercroft._device.parcel import PageFile

LIBRARY_NAME: Final = "libundercroft_engine.so"
LIBRARY_VARIABLE: Final = "UNDERCROFT_ENGINE_LIBRARY"
DATA_VARIABLE: Final = "UNDERCROFT_DATA"
BUFFER_BYTES: Final = 2 << 20
UNLIMITED_ARENA_BYTES: Final = 2**32 - 64
"""The largest arena that the interface can name; memory is taken when touched."""

_KEY_BYTES: Final = 32
_TYPE_CODES: Final = {
    Param.NONE: 0,
    Param.VALUE_INOUT: 1,
    Param.VALUE_OUTPUT: 2,
    Param.MEMREF_INPUT: 3,
    Param.MEMREF_OUTPUT: 4,
}


class NoProtectionWarning(UserWarning):
    """The `host:` device was opened: nothing protects the model there."""


# Each time, not only the first; filters that a program sets go before this one.
warnings.simplefilter("always", NoProtectionWarning, append=True)


class _Param(ctypes.Structure):
    """`struct uc_param` of `engine/include/uc_service.h`."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("a", ctypes.c_uint32),
        ("b", ctypes.c_uint32),
        ("ns_data", ctypes.c_void_p),
        ("ns_len", ctypes.c_size_t),
    )


class HostDevice(LocalDevice):
    """The engine in this process, WITHOUT any protection."""

    kind = "host"

    def __init__(
        self,
        uri: str = "host:",
        *,
        library: Path | None = None,
        private_key: bytes | None = None,
        state: Path | None = None,
    ) -> None:
        """Load the engine and make the arena that all sessions share.

        Args:
            uri: `host:`, or `host:?arena=SIZE` with a size like `12MiB`, or
                `unlimited`; without, as large as the emulated board's.
            library: the engine; found by itself when None.
            private_key: 32 bytes instead of this user's device key; what the
                device keeps of licenses is then gone when it is closed, unless
                there is a `state`.
            state: the file that it is kept in, unprotected.

        Raises:
            DeviceError: a malformed URI, or not enough memory.
            EnvironmentMissingError: the engine is not built.
        """
        super().__init__(uri)
        arena_bytes = _parse_uri(uri)
        self._engine = _load_library(library or find_library())
        warnings.warn(
            "the host: device runs models in this process WITHOUT any protection; "
            "use it for development only",
            NoProtectionWarning,
            stacklevel=2,
        )
        key = load_device_key() if private_key is None else private_key
        if private_key is None and state is None:
            state = data_folder() / "host-device.state"
        if len(key) != _KEY_BYTES:
            raise DeviceError(f"a device key of {len(key)} bytes; it has {_KEY_BYTES}")
        self._lock = threading.Lock()
        self._host = self._engine.uc_host_create(arena_bytes, key)
        if not self._host:
            raise DeviceError(
                f"there is no memory for an arena of {arena_bytes} bytes",
                hint="use a smaller one: host:?arena=12MiB",
            )
        if state is not None and not self._engine.uc_host_keep_state(
            self._host, os.fsencode(state)
        ):
            raise DeviceError("there is no memory for another device")
        self._sessions = 0
        self._closed = False

    def open(self) -> HostInvoker:
        """See `LocalDevice.open`."""
        with self._lock:
            if self._closed:
                raise DeviceLostError(f"{self.uri} is closed")
            session = self._engine.uc_host_session_open(self._host)
            if not session:
                raise DeviceError("there is no memory for another session")
            self._sessions += 1
        return HostInvoker(self, session)

    def close(self) -> None:
        """Wipe and free the arena as soon as the last session is closed."""
        with self._lock:
            self._closed = True
            self._release()

    def command(self, session: int, command: int, params: ctypes.Array[_Param]) -> bool:
        """Enter the engine; different sessions take turns."""
        with self._lock:
            if not self._host:
                raise DeviceLostError(f"{self.uri} is closed")
            return bool(self._engine.uc_host_command(session, command, params))

    def end_session(self, session: int) -> None:
        """Close a session, and the host when it was the last of a closed one."""
        with self._lock:
            if not self._host:
                return
            self._engine.uc_host_session_close(session)
            self._sessions -= 1
            if self._closed:
                self._release()

    def _release(self) -> None:
        if self._sessions == 0 and self._host:
            self._engine.uc_host_destroy(self._host)
            self._host = None

    def __del__(self) -> None:
        # A device whose owner forgot it. Collected as part of a cycle it may go
        # before its sessions do, which then find no host any more.
        if getattr(self, "_host", None):
            self._engine.uc_host_destroy(self._host)
            self._host = None


class HostInvoker:
    """A session with the engine in this process; see `Invoker`."""

    def __init__(self, device: HostDevice, session: int) -> None:
        """Use `HostDevice.open`."""
        self._device = device
        self._session: int | None = session
        self._memory = bytearray(BUFFER_BYTES)
        self.buffer = memoryview(self._memory)
        self._shared = (ctypes.c_uint8 * BUFFER_BYTES).from_buffer(self._memory)
        self.invocations = 0

    def keep(self, file: PageFile, pages: range, step: int) -> int:
        """See `Invoker.keep`: nothing, since a copy here is no cost to speak of."""
        return 0

    def invoke(
        self,
        command: Command,
        *,
        values: tuple[int, int] = (0, 0),
        data1: BytesLike | None = None,
        data2: BytesLike | None = None,
        buffer_bytes: int = 0,
        output_bytes: int = 0,
        kept: bool = False,
    ) -> Reply:
        """See `Invoker.invoke`."""
        if kept:
            raise DeviceError(f"{command.name}: no pages are kept")
        if self._session is None:
            raise DeviceLostError(f"{command.name}: the session is closed")
        if not 0 <= buffer_bytes <= BUFFER_BYTES:
            raise DeviceError(f"{command.name}: {buffer_bytes} bytes of the buffer")
        params = (_Param * 4)()
        memories: list[Any] = []
        inputs = iter((data1, data2))
        for param, kind in zip(params, PARAMETERS[command], strict=True):
            param.type = _TYPE_CODES[kind]
            if kind is Param.VALUE_INOUT:
                param.a, param.b = values
            elif kind is Param.MEMREF_INPUT:
                data = next(inputs)
                if data is None and buffer_bytes:
                    param.ns_data = ctypes.addressof(self._shared)
                    param.ns_len = buffer_bytes
                else:
                    _point(param, bytes(data or b""), memories)
            elif kind is Param.MEMREF_OUTPUT:
                _point(param, bytes(output_bytes), memories)
        self.invocations += 1
        if not self._device.command(self._session, int(command), params):
            raise DeviceLostError(
                f"{command.name}: the engine takes other parameter types",
                hint="build the engine again with: make engine",
            )
        return _reply(command, params, memories)

    def close(self) -> None:
        """See `Invoker.close`."""
        session, self._session = self._session, None
        if session is not None:
            self._device.end_session(session)

    def __del__(self) -> None:
        if getattr(self, "_session", None) is not None:
            self.close()


def _point(param: _Param, data: bytes, kept: list[Any]) -> None:
    """Point a memory reference at a copy of the bytes."""
    memory = ctypes.create_string_buffer(data, max(len(data), 1))
    kept.append(memory)
    param.ns_data = ctypes.addressof(memory)
    param.ns_len = len(data)


def _reply(command: Command, params: ctypes.Array[_Param], kept: list[Any]) -> Reply:
    output = b""
    wanted: list[tuple[int, int]] = []
    for param, kind in zip(params, PARAMETERS[command], strict=True):
        if kind is Param.VALUE_OUTPUT:
            wanted.append((param.a, param.b))
        elif kind is Param.MEMREF_OUTPUT:
            output = ctypes.string_at(param.ns_data, min(param.ns_len, len(kept[-1])))
    want = wanted[0] if wanted else (0, 0)
    return Reply(
        status=params[0].a,
        detail=params[0].b,
        want_first=want[0],
        want_count=want[1],
        state=wanted[1][0] if len(wanted) > 1 else None,
        output=output,
    )


# ---- what it needs ----


def find_library() -> Path:
    """Return the path of the engine as a shared library.

    Raises:
        EnvironmentMissingError: it is not built.
    """
    named = os.environ.get(LIBRARY_VARIABLE)
    checkout = Path(__file__).parents[3]
    places = (
        [Path(named)]
        if named
        else [
            checkout / "build" / "engine-host" / LIBRARY_NAME,
            # On the board, beside the package: /opt/undercroft/{python,lib}.
            checkout / "lib" / LIBRARY_NAME,
        ]
    )
    for place in places:
        if place.is_file():
            return place
    raise EnvironmentMissingError(
        f"the engine for this machine is not built: no {places[0]}",
        hint=f"build it with: make engine (or set {LIBRARY_VARIABLE})",
    )


@cache
def _load_library(path: Path) -> ctypes.CDLL:
    try:
        engine = ctypes.CDLL(str(path))
        pointer, number = ctypes.c_void_p, ctypes.c_uint32
        for name, result, arguments in (
            ("uc_host_create", pointer, [ctypes.c_size_t, ctypes.c_char_p]),
            ("uc_host_keep_state", ctypes.c_int, [pointer, ctypes.c_char_p]),
            ("uc_host_destroy", None, [pointer]),
            ("uc_host_session_open", pointer, [pointer]),
            ("uc_host_session_close", None, [pointer]),
            (
                "uc_host_command",
                ctypes.c_int,
                [pointer, number, ctypes.POINTER(_Param)],
            ),
        ):
            function = getattr(engine, name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        raise EnvironmentMissingError(
            f"the engine {path} cannot be used: {error}",
            hint="build it again with: make engine",
        ) from error
    return engine


def data_folder() -> Path:
    """Where this user's own things are kept."""
    named = os.environ.get(DATA_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local/share") / "undercroft"


def load_device_key() -> bytes:
    """Return the `host:` device's private key of this user; make it on first use.

    Raises:
        FileAccessError: it cannot be read, or others can read it.
        FormatError: it is damaged.
        FileWriteError: it cannot be stored.
    """
    path = data_folder() / "host-device.key"
    if not path.exists():
        _make_device_key(path)
    key = read_secret_file(path, limit_bytes=_KEY_BYTES, what="device key")
    if len(key) != _KEY_BYTES:
        raise FormatError(
            f"{path} is damaged: {len(key)} bytes, not {_KEY_BYTES}",
            hint="delete it; licenses for this device have to be issued again",
        )
    return key


def _make_device_key(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise FileWriteError(
            f"{path.parent} cannot be made: {error.strerror}",
            hint=f"set {DATA_VARIABLE} to a folder that can be written",
        ) from error
    key = secrets.token_bytes(_KEY_BYTES)
    try:
        write_file(path, key, mode=SECRET_MODE, overwrite=False)
    except FileWriteError:
        # Of two first uses at once, both take the key of the faster one.
        if not path.exists():
            raise


def _parse_uri(uri: str) -> int:
    path, _, query = uri.removeprefix("host:").partition("?")
    options = parse_qs(query, keep_blank_values=True)
    text = options.pop("arena", [str(DEFAULT_ARENA_BYTES)])[-1]
    if path or options:
        raise DeviceError(
            f"not a host device: {uri!r}", hint="write host: or host:?arena=12MiB"
        )
    if text == "unlimited":
        return UNLIMITED_ARENA_BYTES
    size = parse_size(text, hint="write host:?arena=12MiB or arena=unlimited")
    if not 0 < size <= UNLIMITED_ARENA_BYTES:
        raise DeviceError(
            f"an arena of {size} bytes; at most {UNLIMITED_ARENA_BYTES} are possible"
        )
    return size
