# SPDX-License-Identifier: Apache-2.0
"""The GlobalPlatform TEE Client API of OP-TEE's `libteec`, as ctypes.

Only what `tee.py` needs: the structures, the library, and what its numbers mean
in words. Layouts are those of `tee_client_api.h` of libteec 2 on 64-bit Linux.
"""

from __future__ import annotations

import ctypes
import os
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Final
from uuid import UUID

from undercroft._spec import Status
from undercroft.errors import (
    DeviceError,
    DeviceLostError,
    EnvironmentMissingError,
    Error,
    SecureMemoryError,
)

LIBRARY_NAMES: Final = ("libteec.so.2", "libteec.so.1")
TEE_DEVICE: Final = "/dev/tee0"
MAX_DEVICES: Final = 10
SUPPLICANT: Final = "tee-supplicant"
STORAGE: Final = "/var/lib/optee-client"
"""Where Debian's supplicant keeps the files of secure storage."""


class ParamType(IntEnum):
    """Types of a parameter, four bits each in `TEEC_Operation.paramTypes`."""

    NONE = 0x0
    VALUE_INPUT = 0x1
    VALUE_OUTPUT = 0x2
    VALUE_INOUT = 0x3
    MEMREF_TEMP_INPUT = 0x5
    MEMREF_TEMP_OUTPUT = 0x6
    MEMREF_TEMP_INOUT = 0x7
    MEMREF_PARTIAL_INPUT = 0xD
    MEMREF_PARTIAL_OUTPUT = 0xE
    MEMREF_PARTIAL_INOUT = 0xF


class Result(IntEnum):
    """`TEEC_Result` values that are told apart here."""

    SUCCESS = 0x00000000
    GENERIC = 0xFFFF0000
    ACCESS_DENIED = 0xFFFF0001
    CANCEL = 0xFFFF0002
    ACCESS_CONFLICT = 0xFFFF0003
    EXCESS_DATA = 0xFFFF0004
    BAD_FORMAT = 0xFFFF0005
    BAD_PARAMETERS = 0xFFFF0006
    BAD_STATE = 0xFFFF0007
    ITEM_NOT_FOUND = 0xFFFF0008
    NOT_IMPLEMENTED = 0xFFFF0009
    NOT_SUPPORTED = 0xFFFF000A
    NO_DATA = 0xFFFF000B
    OUT_OF_MEMORY = 0xFFFF000C
    BUSY = 0xFFFF000D
    COMMUNICATION = 0xFFFF000E
    SECURITY = 0xFFFF000F
    SHORT_BUFFER = 0xFFFF0010
    TARGET_DEAD = 0xFFFF3024
    STORAGE_NO_SPACE = 0xFFFF3041


class Origin(IntEnum):
    """Who gave a result."""

    API = 1
    COMMUNICATION = 2
    TEE = 3
    TRUSTED_APPLICATION = 4


MEM_INPUT: Final = 1
MEM_OUTPUT: Final = 2
LOGIN_PUBLIC: Final = 0


class TeecUuid(ctypes.Structure):
    """`TEEC_UUID`."""

    _fields_ = (
        ("time_low", ctypes.c_uint32),
        ("time_mid", ctypes.c_uint16),
        ("time_hi_and_version", ctypes.c_uint16),
        ("clock_seq_and_node", ctypes.c_uint8 * 8),
    )

    @classmethod
    def of(cls, uuid: UUID) -> TeecUuid:
        """Convert a UUID."""
        low, mid, high, *_ = uuid.fields
        return cls(low, mid, high, (ctypes.c_uint8 * 8)(*uuid.bytes[8:]))


class TeecContext(ctypes.Structure):
    """`TEEC_Context`; the words at the end are room for other versions."""

    _fields_ = (
        ("fd", ctypes.c_int),
        ("reg_mem", ctypes.c_bool),
        ("memref_null", ctypes.c_bool),
        ("room", ctypes.c_uint64 * 4),
    )


class TeecSession(ctypes.Structure):
    """`TEEC_Session`."""

    _fields_ = (
        ("context", ctypes.c_void_p),
        ("session_id", ctypes.c_uint32),
        ("room", ctypes.c_uint64 * 4),
    )


class TeecSharedMemory(ctypes.Structure):
    """`TEEC_SharedMemory`."""

    _fields_ = (
        ("buffer", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("flags", ctypes.c_uint32),
        ("id", ctypes.c_int),
        ("alloced_size", ctypes.c_size_t),
        ("shadow_buffer", ctypes.c_void_p),
        ("registered_fd", ctypes.c_int),
        ("inner_flags", ctypes.c_uint32),
        ("room", ctypes.c_uint64 * 4),
    )


class TemporaryMemory(ctypes.Structure):
    """`TEEC_TempMemoryReference`."""

    _fields_ = (("buffer", ctypes.c_void_p), ("size", ctypes.c_size_t))


class RegisteredMemory(ctypes.Structure):
    """`TEEC_RegisteredMemoryReference`."""

    _fields_ = (
        ("parent", ctypes.POINTER(TeecSharedMemory)),
        ("size", ctypes.c_size_t),
        ("offset", ctypes.c_size_t),
    )


class Value(ctypes.Structure):
    """`TEEC_Value`."""

    _fields_ = (("a", ctypes.c_uint32), ("b", ctypes.c_uint32))


class TeecParameter(ctypes.Union):
    """`TEEC_Parameter`."""

    _fields_ = (
        ("tmpref", TemporaryMemory),
        ("memref", RegisteredMemory),
        ("value", Value),
    )


class TeecOperation(ctypes.Structure):
    """`TEEC_Operation`."""

    _fields_ = (
        ("started", ctypes.c_uint32),
        ("param_types", ctypes.c_uint32),
        ("params", TeecParameter * 4),
        ("session", ctypes.c_void_p),
        ("room", ctypes.c_uint64 * 4),
    )


@cache
def load_library() -> ctypes.CDLL:
    """Return `libteec` with its prototypes.

    Raises:
        EnvironmentMissingError: it is not installed.
    """
    library: ctypes.CDLL | None = None
    for name in LIBRARY_NAMES:
        try:
            library = ctypes.CDLL(name)
            break
        except OSError:
            continue
    if library is None:
        raise EnvironmentMissingError(
            "the TEE client library (libteec) is not installed on this machine",
            hint="install it with: apt-get install libteec2 tee-supplicant; without "
            "a TEE in this machine use the emulated board, device board:",
        )
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    out = ctypes.POINTER(number)
    prototypes = {
        "TEEC_InitializeContext": (number, [ctypes.c_char_p, pointer]),
        "TEEC_FinalizeContext": (None, [pointer]),
        "TEEC_OpenSession": (
            number,
            [pointer, pointer, pointer, number, pointer, pointer, out],
        ),
        "TEEC_CloseSession": (None, [pointer]),
        "TEEC_InvokeCommand": (number, [pointer, number, pointer, out]),
        "TEEC_RegisterSharedMemory": (number, [pointer, pointer]),
        "TEEC_ReleaseSharedMemory": (None, [pointer]),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def context_failure(result: int) -> Error:
    """Return the error for a TEE that cannot be reached at all."""
    nodes = [TEE_DEVICE[:-1] + str(number) for number in range(MAX_DEVICES)]
    present = [node for node in nodes if Path(node).exists()]
    if not present:
        return EnvironmentMissingError(
            f"this machine offers no TEE: there is no {TEE_DEVICE}",
            hint="load the kernel's driver with: modprobe optee; without OP-TEE in "
            "this machine use the emulated board, device board:",
        )
    if not any(os.access(node, os.R_OK | os.W_OK) for node in present):
        return EnvironmentMissingError(
            f"this user may not use the TEE: no permission for {present[0]}",
            hint="run as root, or add the user to the group that owns the device",
        )
    return EnvironmentMissingError(
        f"the TEE cannot be opened: {in_words(result)}",
        hint=f"look at the kernel's log with: dmesg | grep -i tee, and start "
        f"{SUPPLICANT}",
    )


def session_failure(result: int, origin: int, uuid: UUID) -> Error:
    """Return the error for a Trusted Application that does not open."""
    where = f"/lib/optee_armtz/{uuid}.ta"
    match result:
        case Result.ITEM_NOT_FOUND | Result.ACCESS_CONFLICT:
            return EnvironmentMissingError(
                "the Trusted Application is not installed in this machine's TEE",
                hint=f"build it with: make ta, copy it to {where} and start "
                f"{SUPPLICANT} as root",
            )
        case Result.SECURITY:
            return EnvironmentMissingError(
                f"the TEE refuses the Trusted Application {where}: it is damaged, or "
                "not signed with a key that this TEE trusts",
                hint="build it with the TA development kit of this board and its "
                "signing key (TA_SIGN_KEY)",
            )
        case Result.OUT_OF_MEMORY:
            return SecureMemoryError(
                "the TEE has too little secure memory left to start the Trusted "
                "Application",
                hint="close what else runs in the TEE, or build the TA with a "
                "smaller arena (UC_ARENA_BYTES)",
                status=Status.NO_SECURE_MEMORY,
                command="open session",
            )
        case Result.COMMUNICATION:
            return EnvironmentMissingError(
                f"the TEE cannot load the Trusted Application: no {SUPPLICANT} answers",
                hint=f"start {SUPPLICANT} as root",
            )
        case Result.STORAGE_NO_SPACE:
            return DeviceLostError(
                "the Trusted Application cannot be opened: no space left in secure "
                "storage",
                hint=f"make room on the disk where {SUPPLICANT} keeps its files "
                f"({STORAGE}), and try again; nothing was lost",
                command="open session",
            )
        case Result.BAD_STATE:
            return DeviceLostError(
                "the Trusted Application cannot be opened: it is in a state that does "
                "not allow this, says the TEE",
                hint="when the disk was full while this TEE was used for the first "
                "time, its own records are half made and nothing was kept yet: move "
                f"the files below {STORAGE} away. Otherwise put the last good copy of "
                "them back, or this device's key is lost; the TEE's own log says more",
                command="open session",
            )
    return DeviceLostError(
        f"the Trusted Application cannot be opened: {in_words(result, origin)}",
        hint="the TEE's own log says more; on the emulated board: undercroft board log",
        command="open session",
    )


def command_failure(result: int, origin: int, command: str) -> Error:
    """Return the error for a command that could not be routed."""
    match result:
        case Result.TARGET_DEAD:
            return DeviceLostError(
                f"{command}: the Trusted Application has died; what it held is wiped",
                hint="load the model again; if it dies again, the TEE's own log says "
                "where (on the emulated board: undercroft board log)",
                command=command,
            )
        case Result.OUT_OF_MEMORY:
            return SecureMemoryError(
                f"{command}: the TEE has too little memory for this call's shared "
                "memory",
                hint="close what else runs in the TEE, or build the TA with a "
                "smaller arena (UC_ARENA_BYTES)",
                status=Status.NO_SECURE_MEMORY,
                command=command,
            )
        case Result.BAD_PARAMETERS if origin == Origin.TRUSTED_APPLICATION:
            return DeviceLostError(
                f"{command}: the Trusted Application takes other parameter types",
                hint="host software and Trusted Application are of different "
                "versions; rebuild both",
                command=command,
            )
    return DeviceLostError(
        f"{command}: the Trusted Application cannot be reached: "
        f"{in_words(result, origin)}",
        hint="load the model again; the TEE's own log says more",
        command=command,
    )


def memory_failure(result: int, size_bytes: int) -> Error:
    """Return the error for shared memory that the TEE does not take."""
    return DeviceError(
        f"no {size_bytes} bytes of memory can be shared with the TEE: "
        f"{in_words(result)}",
        hint="close other programs that use the TEE",
        command="share memory",
    )


_WORDS: Final = {
    Result.GENERIC: "it failed without saying why",
    Result.ACCESS_DENIED: "access is denied",
    Result.CANCEL: "the call was cancelled",
    Result.ACCESS_CONFLICT: "it is in use by somebody else",
    Result.BAD_FORMAT: "the data has a wrong form",
    Result.BAD_PARAMETERS: "wrong parameters",
    Result.BAD_STATE: "it is in a state that does not allow this",
    Result.ITEM_NOT_FOUND: "it is not there",
    Result.NOT_IMPLEMENTED: "this is not implemented",
    Result.NOT_SUPPORTED: "this is not supported",
    Result.NO_DATA: "no data came",
    Result.OUT_OF_MEMORY: "out of memory",
    Result.BUSY: "it is busy",
    Result.COMMUNICATION: f"no answer from {SUPPLICANT} or the driver",
    Result.SECURITY: "a security check failed",
    Result.TARGET_DEAD: "the Trusted Application has died",
    Result.STORAGE_NO_SPACE: "no space left in secure storage",
}
_WHO: Final = {
    Origin.API: "the TEE client library",
    Origin.COMMUNICATION: "the way to the TEE",
    Origin.TEE: "the TEE",
    Origin.TRUSTED_APPLICATION: "the Trusted Application",
}


def in_words(result: int, origin: int = 0) -> str:
    """Say what a result means, with its number for a search."""
    known = result in Result._value2member_map_
    text = _WORDS.get(Result(result), "refused") if known else "an unknown answer"
    who = _WHO[Origin(origin)] if origin in Origin._value2member_map_ else ""
    said = f", says {who}" if who else ""
    return f"{text}{said} (0x{result:08x})"
