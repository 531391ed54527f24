# SPDX-License-Identifier: Apache-2.0
"""The Trusted Application's own sources over a FAKE TEE, as a device of this process.

What `ta/src` does with the parameters, objects and failures that a TEE hands it can be
seen here line by line; `tests/tee/fake_tee.h` says what is fake. The product's own
client drives it.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from undercroft import _build
from undercroft._device.host import HostInvoker, _Param
from undercroft._device.local import LocalDevice
from undercroft.errors import DeviceError

SUCCESS: Final = 0
BAD_PARAMETERS: Final = 0xFFFF0006
NO_SPACE: Final = 0xFFFF3041
CORRUPT_OBJECT: Final = 0xF0100001
OUT_OF_MEMORY: Final = 0xFFFF000C
GENERIC: Final = 0xFFFF0000

# TEE_PARAM_TYPE_* by the type codes of the host engine (uc_param_type).
_TYPES: Final = (0, 3, 2, 5, 6)
_VALUES: Final = frozenset({1, 2, 3})


class _Memory(ctypes.Structure):
    _fields_ = (("buffer", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Value(ctypes.Structure):
    _fields_ = (("a", ctypes.c_uint32), ("b", ctypes.c_uint32))


class TeeParam(ctypes.Union):
    """`TEE_Param`."""

    _fields_ = (("memref", _Memory), ("value", _Value))


def library(provider_keys: Sequence[Path] = ()) -> Path:
    """Build the library; a release build when there are providers to trust."""
    _build.build("host")
    settings = _build.fake_tee_variables("host")
    settings["PROVIDER_KEYS"] = " ".join(map(str, provider_keys))
    folder = _build.ROOT / "tests" / "tee"
    goal = "release" if provider_keys else "all"
    with _build.locked(_build.BUILD / ".lock"):
        subprocess.run(
            [
                *("make", "--no-print-directory", "-C", folder, goal),
                *(f"{name}={value}" for name, value in settings.items()),
            ],
            check=True,
        )
    name = "libundercroft_ta_release.so" if provider_keys else "libundercroft_ta.so"
    return _build.BUILD / "fake-tee" / name


@cache
def _loaded(path: Path) -> ctypes.CDLL:
    ta = ctypes.CDLL(str(path))
    ta.fake_tee_failed.restype = ctypes.c_char_p
    for name in ("TA_OpenSessionEntryPoint", "TA_InvokeCommandEntryPoint"):
        getattr(ta, name).restype = ctypes.c_uint32
    ta.TA_CloseSessionEntryPoint.argtypes = [ctypes.c_void_p]
    ta.fake_tee_clock.argtypes = [ctypes.c_uint64]
    return ta


class FakeTee(LocalDevice):
    """A device that nobody has used, with the Trusted Application in it."""

    kind = "op-tee"

    def __init__(self, path: Path) -> None:
        """Take a library; all devices made of it are one and the same."""
        super().__init__("fake-tee:")
        self.ta = _loaded(path)
        self.ta.fake_tee_reset()
        assert self.ta.TA_CreateEntryPoint() == SUCCESS

    def open_session(self, types: int = 0) -> tuple[int, int]:
        """Enter TA_OpenSessionEntryPoint; return its result and the session."""
        session = ctypes.c_void_p()
        params = (TeeParam * 4)()
        result = self.ta.TA_OpenSessionEntryPoint(types, params, ctypes.byref(session))
        return result, session.value or 0

    def open(self) -> HostInvoker:
        """See `LocalDevice.open`."""
        result, session = self.open_session()
        if result != SUCCESS:
            raise DeviceError(f"no session: 0x{result:08x}")
        return HostInvoker(self, session)  # type: ignore[arg-type]

    def invoke(self, session: int, command: int, types: int, params: Any) -> int:
        """Enter TA_InvokeCommandEntryPoint with any parameter types at all."""
        result: int = self.ta.TA_InvokeCommandEntryPoint(
            ctypes.c_void_p(session), ctypes.c_uint32(command), types, params
        )
        return result

    def command(self, session: int, command: int, params: ctypes.Array[_Param]) -> bool:
        """What `HostInvoker` asks for: the parameters of a command, as libteec does."""
        given = (TeeParam * 4)()
        types = 0
        for index, param in enumerate(params):
            types |= _TYPES[param.type] << 4 * index
            if param.type in (1, 2):
                given[index].value.a, given[index].value.b = param.a, param.b
            elif param.type:
                given[index].memref.buffer = param.ns_data
                given[index].memref.size = param.ns_len
        if self.invoke(session, command, types, given) != SUCCESS:
            return False
        for index, param in enumerate(params):
            if param.type in (1, 2):
                param.a, param.b = given[index].value.a, given[index].value.b
            elif param.type:
                param.ns_len = given[index].memref.size
        return True

    def end_session(self, session: int) -> None:
        """Close a session."""
        self.ta.TA_CloseSessionEntryPoint(session)

    def fail(self, nth: int, code: int = GENERIC, *, goes_on: bool = False) -> None:
        """Have the nth call of the TEE's that may fail do so, or with 0 none."""
        self.ta.fake_tee_fail(nth, ctypes.c_uint32(code), int(goes_on))

    @property
    def calls(self) -> int:
        """Calls that may fail, since `fail`."""
        return int(self.ta.fake_tee_calls())

    @property
    def failed(self) -> str:
        """The last one that did."""
        return str(self.ta.fake_tee_failed().decode())

    @property
    def held(self) -> int:
        """Handles and memory that the Trusted Application has not given back."""
        return int(self.ta.fake_tee_held())

    @property
    def panics(self) -> int:
        """How often it did what a TEE ends it for."""
        return int(self.ta.fake_tee_panics())
