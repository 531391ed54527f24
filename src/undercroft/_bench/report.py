# SPDX-License-Identifier: Apache-2.0
"""What a measurement says: rows, environment, JSON and tables."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from undercroft.errors import FileAccessError, FormatError

TARGET_SECURE_TO_PLAIN: Final = 1.35
TARGET_PLAIN_TO_ONNXRUNTIME: Final = 1.1


@dataclass(frozen=True, slots=True)
class Row:
    """One model under one budget. Every count is instructions or bytes.

    Attributes:
        model: name or file of the network.
        budget_bytes: secure memory that it was planned for.
        secure_first_instructions: open, load and first inference in the secure
            world, the caller's side included.
        secure_steady_instructions: one more inference.
        plain_first_instructions: as above, same engine, normal world.
        plain_instructions: one more inference of the same engine in the normal
            world, with all weights decrypted in memory.
        onnxruntime_first_instructions: session made and first run, without
            waiting for the disk.
        onnxruntime_instructions: one more run, one thread.
        decrypting_instructions: of a steady secure inference, in the secure
            world: checking and decrypting pages.
        computing_instructions: of it, operators.
        moving_instructions: of it, copying from and to shared memory.
        switching_instructions: the rest: world switches, driver, the caller's
            Python, reading the sealed file.
        secure_call_instructions: of the rest, what the calls into the secure
            side cost beyond its own work (from one more inference, with a clock
            around each call).
        spread_instructions: largest less smallest steady inference.
        secure_peak_bytes: high-water mark, measured in the secure world.
        weights_bytes: of the model.
        decrypted_bytes: per steady inference.
        load_decrypted_bytes: once per load.
        moved_bytes: per steady inference.
        spilled_bytes: per steady inference.
        world_switches: per steady inference.
        max_rel_error: of the secure outputs against onnxruntime's on the board,
            relative to the largest magnitude.
        weights: how they were sealed, f32 or int8.
        suite: cipher suite that it was sealed with.
    """

    model: str
    budget_bytes: int
    secure_first_instructions: int
    secure_steady_instructions: int
    plain_first_instructions: int
    plain_instructions: int
    onnxruntime_first_instructions: int
    onnxruntime_instructions: int
    decrypting_instructions: int
    computing_instructions: int
    moving_instructions: int
    switching_instructions: int
    secure_call_instructions: int
    spread_instructions: int
    secure_peak_bytes: int
    weights_bytes: int
    decrypted_bytes: int
    load_decrypted_bytes: int
    moved_bytes: int
    spilled_bytes: int
    world_switches: int
    max_rel_error: float
    weights: str = "f32"
    suite: str = "aes-256-gcm"

    @property
    def secure_to_plain(self) -> float:
        """Steady secure inference over the same engine on plaintext."""
        return self.secure_steady_instructions / self.plain_instructions

    @property
    def plain_to_onnxruntime(self) -> float:
        """The engine over onnxruntime, both in the normal world."""
        return self.plain_instructions / self.onnxruntime_instructions

    @property
    def secure_to_onnxruntime(self) -> float:
        """What protection costs in all."""
        return self.secure_steady_instructions / self.onnxruntime_instructions

    @property
    def meets_targets(self) -> bool:
        """Whether both ratios are as promised."""
        return (
            self.secure_to_plain <= TARGET_SECURE_TO_PLAIN
            and self.plain_to_onnxruntime <= TARGET_PLAIN_TO_ONNXRUNTIME
            and self.secure_peak_bytes <= self.budget_bytes
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields and the ratios, as JSON has them."""
        return asdict(self) | {
            "secure_to_plain": round(self.secure_to_plain, 4),
            "plain_to_onnxruntime": round(self.plain_to_onnxruntime, 4),
            "secure_to_onnxruntime": round(self.secure_to_onnxruntime, 4),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote; ratios are computed again."""
        try:
            # As they were when none were named.
            value = {"weights": "f32", "suite": "aes-256-gcm"} | value
            return cls(**{field.name: value[field.name] for field in fields(cls)})
        except (KeyError, TypeError) as error:
            raise FormatError(f"a row of a benchmark lacks {error}") from error


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that could not be measured, and why.

    Attributes:
        model: name or file of the network.
        budget_bytes: secure memory that it was to be planned for.
        error: the class of error, as `Error.code`.
        message: its first line.
        suite: cipher suite that it was to be sealed with.
    """

    model: str
    budget_bytes: int
    error: str
    message: str
    suite: str = "aes-256-gcm"


@dataclass(frozen=True, slots=True)
class Report:
    """Rows, what they were measured on, and what could not be measured."""

    environment: dict[str, str]
    rows: tuple[Row, ...]
    failures: tuple[Failure, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The shape of `undercroft bench --json` and of recorded results."""
        return {
            "environment": self.environment,
            "rows": [row.as_dict() for row in self.rows],
            "failures": [asdict(failure) for failure in self.failures],
        }

    @classmethod
    def from_dict(cls, value: Any) -> Self:  # noqa: ANN401 any JSON
        """Read what `as_dict` wrote.

        Raises:
            FormatError: it has another shape.
        """
        try:
            environment = {str(k): str(v) for k, v in value["environment"].items()}
            rows = tuple(Row.from_dict(row) for row in value["rows"])
            failures = tuple(Failure(**entry) for entry in value.get("failures", ()))
        except (KeyError, TypeError, AttributeError) as error:
            raise FormatError("this is no benchmark result") from error
        return cls(environment=environment, rows=rows, failures=failures)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recorded result.

        Raises:
            FileAccessError: it cannot be read.
            FormatError: it is none.
        """
        try:
            return cls.from_dict(json.loads(path.read_text()))
        except OSError as error:
            raise FileAccessError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise FormatError(f"{path} is no JSON") from error


def markdown(report: Report) -> str:
    """The result as tables for the documentation."""
    lines = [
        "| model | budget | suite | secure, first | secure, steady | plain "
        "| onnxruntime | secure / plain | plain / onnxruntime |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.model} | {mib(row.budget_bytes)} | {_sealed_how(row)} "
        f"| {millions(row.secure_first_instructions)} "
        f"| {millions(row.secure_steady_instructions)} "
        f"| {millions(row.plain_instructions)} "
        f"| {millions(row.onnxruntime_instructions)} "
        f"| {row.secure_to_plain:.3f} | {row.plain_to_onnxruntime:.3f} |"
        for row in report.rows
    ]
    lines += [
        "",
        "Where the instructions of a steady secure inference go:",
        "",
        "| model | budget | suite | computing | decrypting | moving | switching "
        "| decrypted | spilled | world switches | secure peak | error |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.model} | {mib(row.budget_bytes)} | {_sealed_how(row)} "
        f"| {millions(row.computing_instructions)} "
        f"| {millions(row.decrypting_instructions)} "
        f"| {millions(row.moving_instructions)} "
        f"| {millions(row.switching_instructions)} "
        f"| {mib(row.decrypted_bytes)} | {mib(row.spilled_bytes)} "
        f"| {row.world_switches} "
        f"| {mib(row.secure_peak_bytes)} | {row.max_rel_error:.1e} |"
        for row in report.rows
    ]
    if report.failures:
        lines += ["", "Not measured:", "", "| model | budget | why |", "|---|---|---|"]
        lines += [
            f"| {failure.model} | {mib(failure.budget_bytes)} | {failure.message} |"
            for failure in report.failures
        ]
    lines += ["", "| environment | |", "|---|---|"]
    lines += [
        f"| {name.replace('_', ' ')} | {value} |"
        for name, value in report.environment.items()
    ]
    return "\n".join(lines) + "\n"


def _sealed_how(row: Row) -> str:
    return row.suite if row.weights == "f32" else f"{row.suite}, {row.weights}"


def millions(count: int) -> str:
    """`123.4 M`."""
    return f"{count / 1e6:.1f} M"


def mib(count: int) -> str:
    """`12.00 MiB`, without zeros that say nothing."""
    return f"{count / 2**20:.2f}".rstrip("0").rstrip(".") + " MiB"
