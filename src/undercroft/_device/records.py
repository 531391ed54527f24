# SPDX-License-Identifier: Apache-2.0
"""The two records that the secure side hands out (`spec/ta-abi.md`)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from undercroft._spec import ABI_VERSION
from undercroft.errors import DeviceError

_INFO = struct.Struct("<8I32s")
_STATS = struct.Struct("<16Q")
_PARAMETER_PREFIX = "undercroft_"


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a device says about itself.

    Attributes:
        kind: `op-tee`, or `host` for the engine without any protection.
        abi_version: version of the Trusted Application's interface.
        build: `development` or `release`.
        arena_bytes: secure memory for models, in all.
        free_bytes: secure memory for models that is not in use.
        push_pages: pages in one PUSH that the device advises, 0 for no advice.
        kernel_set: the compute kernels it was built with (`_spec.KERNEL_SET_*`).
        has_ticks: whether statistics carry time per phase.
        version: version and build, in words.
    """

    kind: str
    abi_version: int
    build: str
    arena_bytes: int
    free_bytes: int
    push_pages: int
    kernel_set: int
    has_ticks: bool
    version: str

    @classmethod
    def parse(cls, kind: str, record: bytes) -> Self:
        """Read the 64-byte info record.

        Raises:
            DeviceError: another length or interface version.
        """
        if len(record) != _INFO.size:
            raise DeviceError(
                f"the device's info record has {len(record)} bytes, not {_INFO.size}",
                hint="host software and Trusted Application are of different "
                "versions; rebuild both",
                command="INFO",
            )
        abi, build, arena, free, pages, kernels, flags, _, text = _INFO.unpack(record)
        if abi != ABI_VERSION:
            raise DeviceError(
                f"the device speaks version {abi} of the interface, this software "
                f"version {ABI_VERSION}",
                hint="host software and Trusted Application are of different "
                "versions; rebuild both",
                command="INFO",
            )
        return cls(
            kind=kind,
            abi_version=abi,
            build={0: "development", 1: "release"}.get(build, f"unknown ({build})"),
            arena_bytes=arena,
            free_bytes=free,
            push_pages=pages,
            kernel_set=kernels,
            has_ticks=bool(flags & 1),
            version=text.rstrip(b"\0").decode("utf-8", "replace"),
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote; unknown fields are ignored."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: value[key] for key in value if key in names})


@dataclass(frozen=True, slots=True)
class Ticks:
    """Time per phase of one inference, in the device's own ticks."""

    decrypt: int
    move: int
    compute: int
    hz: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What one inference cost.

    Attributes:
        budget_bytes: secure memory the model was sealed for.
        secure_peak_bytes: high-water mark of the arena, measured by the device.
        weights_bytes: all weights of the model, resident and streamed.
        decrypted_bytes: decrypted during this inference.
        decrypted_pages: pages decrypted during this inference.
        load_decrypted_bytes: decrypted since the model was opened, for loading.
        moved_bytes: copied from and to shared memory during this inference.
        spilled_bytes: activations that left the secure world encrypted.
        inferences: inferences the device completed since the model was opened.
        world_switches: how often the secure side was entered for this inference.
        seconds: wall-clock time of this inference.
        instructions: instructions of this inference, where the device's clock
            counts them, else None.
        ticks: time per phase, in development builds that measure it, else None.
    """

    budget_bytes: int
    secure_peak_bytes: int
    weights_bytes: int
    decrypted_bytes: int
    decrypted_pages: int
    load_decrypted_bytes: int
    moved_bytes: int
    spilled_bytes: int
    inferences: int
    world_switches: int
    seconds: float
    instructions: int | None = None
    ticks: Ticks | None = None

    @classmethod
    def parse(
        cls,
        record: bytes,
        *,
        world_switches: int,
        seconds: float,
        instructions: int | None = None,
    ) -> Self:
        """Read the 128-byte statistics record.

        Raises:
            DeviceError: another length.
        """
        if len(record) != _STATS.size:
            raise DeviceError(
                f"the device's statistics have {len(record)} bytes, not {_STATS.size}",
                hint="host software and Trusted Application are of different "
                "versions; rebuild both",
                command="STATS",
            )
        value = _STATS.unpack(record)
        ticks = None
        if value[12]:
            ticks = Ticks(
                decrypt=value[9], move=value[10], compute=value[11], hz=value[12]
            )
        return cls(
            budget_bytes=value[0],
            secure_peak_bytes=value[1],
            weights_bytes=value[2],
            decrypted_bytes=value[3],
            decrypted_pages=value[4],
            load_decrypted_bytes=value[5],
            moved_bytes=value[6],
            inferences=value[7],
            spilled_bytes=value[8],
            world_switches=world_switches,
            seconds=seconds,
            instructions=instructions,
            ticks=ticks,
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return asdict(self)

    def as_parameters(self) -> dict[str, int | float]:
        """The fields as parameters of an Open Inference Protocol answer.

        Those are flat and have no null: `undercroft_` and the field's name, and
        `undercroft_ticks_...` for the phases.
        """
        flat = self.as_dict()
        for phase, count in (flat.pop("ticks") or {}).items():
            flat[f"ticks_{phase}"] = count
        return {
            f"{_PARAMETER_PREFIX}{name}": value
            for name, value in flat.items()
            if value is not None
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Self:
        """Read what `as_parameters` wrote; other parameters are ignored.

        Raises:
            DeviceError: a field is missing or no number.
        """
        found = {
            key.removeprefix(_PARAMETER_PREFIX): value
            for key, value in parameters.items()
            if key.startswith(_PARAMETER_PREFIX)
        }
        try:
            phases = {
                field.name: int(found[f"ticks_{field.name}"])  # type: ignore[call-overload]
                for field in fields(Ticks)
                if f"ticks_{field.name}" in found
            }
            counts = {
                field.name: int(found[field.name])  # type: ignore[call-overload]
                for field in fields(cls)
                if field.name in found and field.name != "seconds"
            }
            return cls(
                **counts,
                seconds=float(found["seconds"]),  # type: ignore[arg-type]
                ticks=Ticks(**phases) if phases else None,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DeviceError(
                "the agent's statistics are incomplete",
                hint="host software and agent are of different versions",
                command="STATS",
            ) from error
