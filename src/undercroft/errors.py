# SPDX-License-Identifier: Apache-2.0
"""Everything Undercroft raises.

::

    Error                       .message  .hint (what to do next)  .exit_code
    ├── ModelError              the ONNX model cannot be taken                3
    │   ├── UnsupportedModelError   operators, types or shapes, every one named
    │   └── NotAModelError          not ONNX, or damaged                      1
    ├── PlanError
    │   └── BudgetExceededError     needed / allowed / where                  4
    ├── FormatError             not one of our files, truncated, over a limit 1
    ├── VerificationError       signature, tag, wrapped key: no more detail   1
    ├── AttestationError        a device shows less than the policy asks for  1
    ├── LicenseError            does not hold here, or not any more: .status  1
    ├── ProviderError           a license service refuses: .problem           1
    ├── SigningError            a token does not have the key, or refuses     1
    ├── FileAccessError         a file: missing, unreadable, permissions      1
    │   └── FileWriteError          disk full, not writable; nothing was left
    ├── InputError              an input of the wrong name, shape or type     1
    ├── DeviceError             the secure side refused: .status .detail      1
    │   ├── DeviceStateError        a command or page out of order
    │   ├── SecureMemoryError       needed / free                             4
    │   └── DeviceLostError         the TA died or the device went away
    ├── HarnessError            the emulated board: boot, QEMU, timeout       5
    └── EnvironmentMissingError a tool or package is missing: the command     5

The command line prints `message` and `hint` and exits with `exit_code`; the
library never prints and never exits. Third-party exceptions do not leave the
library: they are the `__cause__` of one of these.
"""

from __future__ import annotations

from typing import Any, ClassVar

from undercroft._spec import STATUS_TEXT, Status

__all__ = [
    "AttestationError",
    "BudgetExceededError",
    "DeviceError",
    "DeviceLostError",
    "DeviceStateError",
    "EnvironmentMissingError",
    "Error",
    "FileAccessError",
    "FileWriteError",
    "FormatError",
    "HarnessError",
    "InputError",
    "LicenseError",
    "ModelError",
    "NotAModelError",
    "PlanError",
    "ProviderError",
    "SecureMemoryError",
    "SigningError",
    "UnsupportedModelError",
    "VerificationError",
]


class Error(Exception):
    """Base of all errors of this package."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def code(self) -> str:
        """A stable name for programs: the class name without `Error`."""
        return type(self).__name__.removesuffix("Error")

    def diagnostics(self) -> str:
        """What happened and what to do next, for a person."""
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ModelError(Error):
    """The model cannot be imported."""

    exit_code = 3


class UnsupportedModelError(ModelError):
    """Operators, data types or shapes that the engine does not have.

    `problems` names every one of them, with its node.
    """

    def __init__(self, problems: list[str], *, hint: str = "") -> None:
        self.problems = problems
        listing = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(
            f"the model is not supported ({len(problems)} problems):\n{listing}",
            hint=hint,
        )


class NotAModelError(ModelError):
    """The file is not ONNX, is damaged or is not valid."""

    exit_code = 1


class PlanError(Error):
    """The planner found no plan."""


class BudgetExceededError(PlanError):
    """The model does not fit: `needed_bytes`, `allowed_bytes`, `where`."""

    exit_code = 4

    def __init__(
        self, *, needed_bytes: int, allowed_bytes: int, where: str, hint: str = ""
    ) -> None:
        self.needed_bytes = needed_bytes
        self.allowed_bytes = allowed_bytes
        self.where = where
        super().__init__(
            f"the model needs {needed_bytes} bytes ({needed_bytes / 2**20:.2f} MiB) of "
            f"secure memory and the budget allows {allowed_bytes} "
            f"({allowed_bytes / 2**20:.2f} MiB); decided by {where}",
            hint=hint or f"use a budget of at least {needed_bytes} bytes",
        )


class FormatError(Error):
    """Not one of our files, truncated, extended, or over a limit."""


class VerificationError(Error):
    """Something does not verify. Deliberately without detail."""


class AttestationError(Error):
    """A device's evidence is authentic and shows less than the policy asks for.

    `check` is the number of the check in `spec/license.md`.
    """

    def __init__(self, check: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.check = check


class _StatusError(Error):
    """The device answered with a status of `spec/constants.toml`.

    `status` says what, `detail` is its number to it (`spec/ta-abi.md`), `command` is
    the one that was refused.
    """

    default_status = Status.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: Status | int | None = None,
        detail: int = 0,
        command: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = self.default_status if status is None else status
        self.detail = detail
        self.command = command


class LicenseError(_StatusError):
    """A license or update that does not hold here, not yet or not any more.

    For `RATE` and `NOT_YET_VALID` the detail is the seconds to wait.
    """

    default_status = Status.BAD_LICENSE


class ProviderError(Error):
    """A license service refuses, or cannot be reached.

    `problem` is the name of the refusal (`docs/provider.md`), `status` the HTTP
    status, `members` the whole answer (RFC 9457); "", 0 and {} without an answer.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int = 0,
        problem: str = "",
        members: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.problem = problem
        self.members = members or {}


class SigningError(Error):
    """A token (`pkcs11:`) does not have the signing key, or refuses to use it."""


class FileAccessError(Error):
    """A file is missing, cannot be read, or has unsafe permissions."""


class FileWriteError(FileAccessError):
    """A file cannot be written, or the disk is full; nothing was left behind."""


class InputError(Error):
    """An input of the wrong name, shape or type."""


class DeviceError(_StatusError):
    """The secure side refused a command."""


class DeviceStateError(DeviceError):
    """A command or page out of order; the inference was ended and wiped."""


class SecureMemoryError(DeviceError):
    """The device has less free secure memory than the model's budget."""

    exit_code = 4


class DeviceLostError(DeviceError):
    """The Trusted Application died or the device cannot be reached."""


class HarnessError(Error):
    """The emulated board: building, booting, QEMU, a deadline."""

    exit_code = 5


class EnvironmentMissingError(Error):
    """A tool, package or file is missing; the hint is the command to run."""

    exit_code = 5


_STATE = {Status.BAD_STATE, Status.BAD_PAGE_INDEX}
_LICENSE = {
    Status.WRONG_DEVICE: "ask the provider for a license for this device and model",
    Status.WRONG_MODEL: "ask the provider for a license for this device and model",
    Status.UNTRUSTED_PROVIDER: "use a device whose Trusted Application was built for "
    "this provider; a key that its provider has retired is of no use any more",
    Status.EXPIRED: "ask the provider for a new license",
    Status.NOT_YET_VALID: "wait; when the time has come already, give the device a "
    "time token of the provider: undercroft update apply DEVICE FILE",
    Status.USED_UP: "ask the provider for a new license",
    Status.RATE: "wait, or ask the provider for a license with a higher rate",
    Status.MODEL_TOO_OLD: "get the newer version of the model from the provider",
    Status.REVOKED: "ask the provider for a new license",
    Status.NO_TIME: "give the device a time token of the provider: "
    "undercroft update apply DEVICE FILE",
    Status.UNSUPPORTED_FEATURE: "update the Trusted Application, or ask the provider "
    "for a license without that feature",
    Status.SEALED_IO_NEEDED: "ask with sealed inputs and outputs: undercroft run "
    "--private, or undercroft.private in Python",
    Status.UPDATE_NEEDED: "get the provider's latest update and apply it: "
    "undercroft update apply DEVICE FILE",
    Status.OUTDATED_UPDATE: "nothing to do: the device has taken a later one",
}
_WAIT = {Status.RATE: "in {} s", Status.NOT_YET_VALID: "in {} s at the latest"}
_VERSION = {
    Status.MODEL_TOO_OLD: "version {} is the lowest",
    Status.UPDATE_NEEDED: "it wants version {}",
    Status.OUTDATED_UPDATE: "it took version {}",
}
_FORMAT = {
    Status.BAD_HEADER: "seal the model again with this version",
    Status.BAD_LICENSE: "get the license again from the provider",
    Status.BAD_QUESTION: "make the question again, with the version of this software "
    "that the device has",
    Status.BAD_UPDATE: "get the update again from the provider",
    Status.BAD_PROGRAM: "seal the model again with this version",
}


def from_status(status: int, detail: int, command: str) -> Error:
    """Return the error that stands for a status code of the secure side."""
    try:
        known = Status(status)
    except ValueError:
        return DeviceError(
            f"the device answered {command} with an unknown status 0x{status:04x}",
            hint="host software and Trusted Application are of different versions; "
            "rebuild both",
            status=status,
            detail=detail,
            command=command,
        )
    text = f"{command}: {STATUS_TEXT[known]}"
    if known is Status.NOT_AUTHENTIC:
        asked = command == "ASK"
        return VerificationError(
            text,
            hint="make the question again, with the key of this device and the header "
            "of this very model"
            if asked
            else "get the file and the license again from the provider",
        )
    if known in _LICENSE:
        more = (_WAIT | _VERSION).get(known)
        return LicenseError(
            f"{text} ({more.format(detail)})" if more else text,
            hint=_LICENSE[known],
            status=known,
            detail=detail,
            command=command,
        )
    if known in _FORMAT:
        place = ""
        if known is Status.BAD_PROGRAM:
            kind = "tensor" if detail & 0x10000 else "operator"
            place = f" ({kind} {detail & 0xFFFF})"
        return FormatError(text + place, hint=_FORMAT[known])
    if known is Status.NO_SECURE_MEMORY:
        return SecureMemoryError(
            f"{text} ({detail} KiB free)",
            hint="seal with a smaller --budget, or close other sessions",
            status=known,
            detail=detail,
            command=command,
        )
    hint = ""
    if known is Status.STATE_FULL:
        hint = (
            "use licenses that end: those that have ended make room; or wipe the "
            "device's secure storage and enroll it again"
        )
    if known is Status.STORAGE:
        hint = "check that tee-supplicant runs and that its disk is not full"
    kind_of_error = DeviceStateError if known in _STATE else DeviceError
    return kind_of_error(text, hint=hint, status=known, detail=detail, command=command)
