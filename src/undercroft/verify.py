# SPDX-License-Identifier: Apache-2.0
"""Verification: is the protected answer the plain one?

::

    result = verify("model.onnx", budget="12MiB", device="board:")
    assert result.passed, result.max_rel_error

Seals the model with throw-away keys, runs it on the device and in onnxruntime on the
same inputs, and compares output by output.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from undercroft._device.records import Stats
from undercroft._format.suites import DEFAULT_SUITE
from undercroft.errors import EnvironmentMissingError, InputError, NotAModelError
from undercroft.tensor import TensorInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft._device.base import Device
    from undercroft.plan import Plan, WeightsFormat

__all__ = ["OutputComparison", "Verification", "compare", "random_inputs", "verify"]

DEFAULT_TOLERANCE: Final = 1e-4
INT8_TOLERANCE: Final = 0.1
"""Of weights in 8 bits: what they may change. Rounding a weight to 1/254 of its
channel's range moves an output of one layer by about 0.5 %, and layers add up."""

Arrays: TypeAlias = "Mapping[str, npt.NDArray[np.float32]]"
GivenInputs: TypeAlias = "Arrays | Callable[[Sequence[TensorInfo]], Arrays]"
"""Arrays by name, or what makes them once the model's inputs are known."""


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """How one output compares.

    Attributes:
        name: of the output.
        max_abs_error: largest difference of any element.
        max_rel_error: that, against the largest magnitude of onnxruntime's output.
        argmax_match: whether the largest element is at the same place; places of
            onnxruntime's output that are equal within the tolerance count as same.
    """

    name: str
    max_abs_error: float
    max_rel_error: float
    argmax_match: bool


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes:
        model: the ONNX file.
        device: `op-tee` or `host`.
        tolerance: the largest `max_rel_error` that passes.
        outputs: one comparison per output.
        stats: what the inference cost, measured on the device.
        budget_bytes: secure memory that it was planned for; None for no limit.
        planned_bytes: secure memory that the plan says it takes.
        suite: the cipher suite that it was sealed with.
        schemes: number of operators per partitioning scheme.
        weights: how the weights were stored.
    """

    model: str
    device: str
    tolerance: float
    outputs: tuple[OutputComparison, ...]
    stats: Stats
    budget_bytes: int | None
    planned_bytes: int
    suite: str
    schemes: Mapping[str, int]
    weights: WeightsFormat = "f32"

    @property
    def max_abs_error(self) -> float:
        """The largest of all outputs."""
        return max(output.max_abs_error for output in self.outputs)

    @property
    def max_rel_error(self) -> float:
        """The largest of all outputs."""
        return max(output.max_rel_error for output in self.outputs)

    @property
    def argmax_match(self) -> bool:
        """Whether it matches in all outputs."""
        return all(output.argmax_match for output in self.outputs)

    @property
    def passed(self) -> bool:
        """Whether the protected answer is the plain one."""
        return self.max_rel_error <= self.tolerance and self.argmax_match

    def as_dict(self) -> dict[str, Any]:
        """The fields that `undercroft verify --json` prints."""
        stats = self.stats
        return {
            "model": self.model,
            "device": self.device,
            "weights": self.weights,
            "budget_bytes": self.budget_bytes,
            "suite": self.suite,
            "planned_bytes": self.planned_bytes,
            "secure_peak_bytes": stats.secure_peak_bytes,
            "weights_bytes": stats.weights_bytes,
            "decrypted_bytes": stats.decrypted_bytes,
            "load_decrypted_bytes": stats.load_decrypted_bytes,
            "spilled_bytes": stats.spilled_bytes,
            "world_switches": stats.world_switches,
            "max_abs_error": self.max_abs_error,
            "max_rel_error": self.max_rel_error,
            "argmax_match": self.argmax_match,
            "instructions": stats.instructions,
            "seconds": stats.seconds,
            "schemes": dict(self.schemes),
            "tolerance": self.tolerance,
            "passed": self.passed,
            "outputs": [asdict(output) for output in self.outputs],
        }


def verify(
    model: Path | str,
    *,
    budget: str | int = "12MiB",
    device: str | Device = "board:",
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    suite: str = DEFAULT_SUITE,
    inputs: GivenInputs | None = None,
    seed: int = 0,
    tolerance: float | None = None,
    weights: WeightsFormat = "f32",
    reference: Path | str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Compare a sealed run with onnxruntime.

    Args:
        model: an ONNX file.
        budget: secure memory to plan for, in bytes or as "12MiB".
        device: a URI, or an open device, which stays open.
        input_shapes: static shapes of inputs whose shapes are dynamic.
        suite: the cipher suite to seal with.
        inputs: arrays for some or all inputs, or a function from the model's
            inputs to such; the others are random, from a normal distribution.
        seed: of the random inputs.
        tolerance: the largest relative error that passes; without, 1e-4, and
            0.1 for weights in 8 bits.
        weights: "f32", or "int8" for weights in 8 bits (see `plan`). They are
            compared with the model's own, so the error is mostly that of
            rounding them.
        reference: the ONNX file that onnxruntime runs, where it is another than
            the one that is sealed: a model with rounded weights, for example.
        progress: called with a sentence at each stage.

    Returns:
        The comparison, whether it passed or not.

    Raises:
        ModelError: the model cannot be taken.
        BudgetExceededError: it does not fit the budget.
        PlanError: there is no such suite.
        InputError: an input of the wrong name, shape or type.
        DeviceError: the device refuses or cannot be reached.
    """
    from undercroft._device import open_device
    from undercroft.plan import plan as make_plan

    tell = progress or (lambda _stage: None)
    tell("planning")
    plan = make_plan(
        model, budget=budget, input_shapes=input_shapes, weights=weights, suite=suite
    )
    if tolerance is None:
        tolerance = DEFAULT_TOLERANCE if weights == "f32" else INT8_TOLERANCE
    given = inputs(plan.inputs) if callable(inputs) else inputs or {}
    feeds = random_inputs(plan.inputs, seed) | _checked(plan.inputs, given)
    tell("running onnxruntime")
    expected = _run_onnxruntime(Path(reference or model), plan.outputs, feeds)
    tell("opening the device")
    target = open_device(device) if isinstance(device, str) else device
    try:
        outputs, stats = _run_sealed(model, plan, target, feeds, tell)
        kind = target.kind
    finally:
        if isinstance(device, str):
            target.close()
    return Verification(
        model=str(model),
        device=kind,
        tolerance=tolerance,
        outputs=tuple(
            compare(info.name, output, expected[info.name], tolerance)
            for info, output in zip(plan.outputs, outputs, strict=True)
        ),
        stats=stats,
        budget_bytes=plan.budget_bytes,
        planned_bytes=plan.arena_bytes,
        suite=plan.suite,
        schemes=plan.schemes,
        weights=weights,
    )


def random_inputs(
    infos: Sequence[TensorInfo], seed: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Return an array per input, normally distributed, the same for a seed."""
    generator = np.random.default_rng(seed)
    return {
        info.name: generator.standard_normal(info.shape, dtype=np.float32)
        for info in infos
    }


def compare(
    name: str,
    got: npt.NDArray[np.float32],
    expected: npt.NDArray[np.float32],
    tolerance: float,
) -> OutputComparison:
    """Compare an output with what it should be."""
    if got.shape != expected.shape:
        raise InputError(
            f"output {name!r} has shape {list(got.shape)}; onnxruntime gives "
            f"{list(expected.shape)}"
        )
    if got.size == 0:
        return OutputComparison(name, 0.0, 0.0, argmax_match=True)
    wide, plain = got.astype(np.float64), expected.astype(np.float64)
    scale = float(np.max(np.abs(plain)))
    with np.errstate(invalid="ignore"):
        largest = float(np.max(np.abs(wide - plain)))
    if not np.isfinite(largest):
        # Something that is no number matches nothing.
        same = bool(np.array_equal(got, expected, equal_nan=True))
        error = 0.0 if same else float("inf")
        return OutputComparison(name, error, error, argmax_match=same)
    flat = plain.reshape(-1)
    behind = float(flat.max() - flat[int(np.argmax(wide))])
    return OutputComparison(
        name=name,
        max_abs_error=largest,
        max_rel_error=largest / scale if scale > 0 else largest,
        argmax_match=behind <= tolerance * scale,
    )


def _run_sealed(
    model: Path | str,
    plan: Plan,
    device: Device,
    feeds: Arrays,
    tell: Callable[[str], None],
) -> tuple[list[npt.NDArray[np.float32]], Stats]:
    from undercroft.keys import DevicePublicKey, ProviderKey
    from undercroft.license import issue
    from undercroft.seal import seal
    from undercroft.session import InferenceSession

    key = ProviderKey.generate()
    public_key = DevicePublicKey.from_cose_key(device.device_key())
    with tempfile.TemporaryDirectory(prefix="undercroft-verify-") as folder:
        tell("sealing")
        path = Path(folder) / "model.sealed"
        sealed = seal(model, path, plan=plan, signing_key=key)
        license_bytes = issue(
            model_key=sealed.model_key, device=public_key, signing_key=key
        )
        tell("loading")
        with InferenceSession(
            path, license=license_bytes, device=device, keep_on_device=False
        ) as session:
            tell("running in the secure world")
            outputs = session.run(None, feeds)
            stats = session.last_stats
    if stats is None:
        raise InputError("the session ran nothing")
    return outputs, stats


def _run_onnxruntime(
    model: Path,
    outputs: Sequence[TensorInfo],
    feeds: Arrays,
) -> dict[str, npt.NDArray[np.float32]]:
    try:
        import onnxruntime
    except ImportError as error:
        raise EnvironmentMissingError(
            "onnxruntime is not installed", hint="pip install onnxruntime"
        ) from error
    names = [info.name for info in outputs]
    with suppress(AttributeError):
        # Its warnings about graph details are no business of a comparison.
        onnxruntime.set_default_logger_severity(3)
    try:
        session = onnxruntime.InferenceSession(
            model, providers=["CPUExecutionProvider"]
        )
        values = session.run(names, dict(feeds))
    except Exception as error:
        # Its exceptions have no common base class but this one.
        raise NotAModelError(
            f"onnxruntime cannot run {model}: {error}",
            hint="check the model, and the shapes given with --input-shape",
        ) from error
    return dict(zip(names, values, strict=True))


def _checked(
    infos: Sequence[TensorInfo], given: Arrays
) -> dict[str, npt.NDArray[np.float32]]:
    known = {info.name: info for info in infos}
    for name, array in given.items():
        info = known.get(name)
        if info is None:
            raise InputError(f"the model has no input {name!r}; it has {sorted(known)}")
        if array.shape != info.shape or array.dtype != np.dtype(info.dtype):
            raise InputError(
                f"input {name!r} is {array.dtype} {list(array.shape)}; expected "
                f"{info.dtype} {list(info.shape)}"
            )
    return dict(given)
