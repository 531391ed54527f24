# SPDX-License-Identifier: Apache-2.0
"""Measure a model on the board: sealed, plain, and in onnxruntime."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from undercroft import _board
from undercroft._bench.answers import Answers
from undercroft._bench.environment import describe
from undercroft._bench.exchange import Exchange, run_on_board
from undercroft._bench.guest import array_of, bytes_of
from undercroft._bench.report import Failure, Report, Row
from undercroft._bench.subject import Subject, make_plan
from undercroft._bench.wall import engine_answer
from undercroft._cache import cache_root, file_sha256
from undercroft._format.suites import DEFAULT_SUITE
from undercroft.errors import Error, HarnessError
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
from undercroft.license import issue
from undercroft.seal import seal

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft._bench.answers import Answer
    from undercroft.plan import Plan, WeightsFormat

BOARD: Final = "bench"
DEFAULT_BUDGETS: Final = (12 << 20, 7 << 20)
MAX_REL_ERROR: Final = 1e-4
_STEADY_RUNS: Final = 2
# Of the emulator with this clock, on a host that is busy with other things.
_LEAST_SECONDS: Final = 600.0
_SLOWEST_PER_SECOND: Final = 5e6
_GUEST_FOLDER: Final = "/tmp"  # noqa: S108 a tmpfs on the board
_GUEST_MODULE: Final = "undercroft._bench.guest"

Progress = Callable[[str], None]


def measure(
    subjects: Sequence[Subject],
    budgets: Sequence[int] = DEFAULT_BUDGETS,
    *,
    weights: WeightsFormat = "f32",
    suites: Sequence[str] = (DEFAULT_SUITE,),
    board: str = BOARD,
    again: bool = False,
    progress: Progress | None = None,
    on_row: Callable[[Report, Row | Failure], None] | None = None,
) -> Report:
    """Measure models under budgets, on the board's instruction clock.

    What the same programs have answered before is taken from the cache folder. A
    model that cannot be measured is among the report's failures; the others go on.

    Args:
        subjects: the models.
        budgets: secure memory to plan for, in bytes.
        weights: how they are sealed for the secure world; what it is compared
            with in the normal world always has them in f32.
        suites: cipher suites to seal with, a row each.
        board: name of the board to use; started when it is down, restarted when
            it has another clock, and stopped in the end.
        again: whether to measure what has been measured as well.
        progress: told what is being done.
        on_row: given the report so far and what was added to it last.

    Raises:
        HarnessError: the board does not start.
    """
    tell = progress or (lambda _message: None)
    report = Report(environment={}, rows=())
    answers = Answers(cache_root() / "bench", again=again)
    try:
        with tempfile.TemporaryDirectory(prefix="undercroft-bench-") as folder:
            for subject in subjects:
                info = _board.ensure_up(
                    board, clock="instructions", large=True, progress=tell
                )
                bench = _Bench(info, Path(folder), weights, answers, tell)
                for row in bench.rows(subject, budgets, suites):
                    report = Report(
                        environment=report.environment | describe(info, bench.seen),
                        rows=report.rows + ((row,) if isinstance(row, Row) else ()),
                        failures=report.failures
                        + ((row,) if isinstance(row, Failure) else ()),
                    )
                    if on_row is not None:
                        on_row(report, row)
        return report
    finally:
        # With this clock an idle board keeps a core of the host busy.
        _board.down(board)


class _Bench:
    """Keys and files of one measurement."""

    def __init__(
        self,
        board: _board.BoardInfo,
        folder: Path,
        weights: WeightsFormat,
        answers: Answers,
        tell: Progress,
    ) -> None:
        self._board = board
        self._weights: WeightsFormat = weights
        self._answers = answers
        self._folder = folder
        self._tell = tell
        self._signing_key = ProviderKey.generate()
        self.seen: dict[str, Any] = {}

    def rows(
        self, subject: Subject, budgets: Sequence[int], suites: Sequence[str]
    ) -> Iterator[Row | Failure]:
        """Measure one model."""
        try:
            self._tell(f"{subject.name}: planning")
            whole = make_plan(subject, None)
            self._tell(f"{subject.name}: onnxruntime on the board")
            reference, expected = self._onnxruntime(subject, whole)
            self.seen["versions"] = reference["versions"]
            self._tell(f"{subject.name}: the engine on plaintext, normal world")
            plain, outputs = self._sealed(
                subject, whole, f"host:?arena={_rounded(whole.arena_bytes)}"
            )
            _require_right(subject, "the engine in the normal world", outputs, expected)
            if plain["runs"][-1]["stats"]["decrypted_bytes"]:
                raise HarnessError("the plain run decrypts pages; it must not")
            right = self._right(subject, expected)
        except Error as error:
            for budget, suite in product(budgets, suites):
                yield _failure(subject, budget, suite, error)
            return
        for budget, suite in product(budgets, suites):
            try:
                self._tell(
                    f"{subject.name}: secure world, {budget / 2**20:g} MiB, {suite}"
                )
                plan = make_plan(subject, budget, self._weights, suite)
                secure, outputs = self._sealed(subject, plan, "tee:")
                self.seen["device"] = secure["info"]
                _require_right(subject, "the secure world", outputs, right)
                yield make_row(
                    subject.name,
                    budget,
                    secure=secure,
                    plain=plain,
                    reference=reference,
                    error=_relative_error(outputs, expected),
                    weights=self._weights,
                    suite=suite,
                )
            except Error as error:
                yield _failure(subject, budget, suite, error)

    def _right(
        self, subject: Subject, expected: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return what the secure world has to answer.

        With rounded weights that is what the engine answers here, which the tests
        compare with onnxruntime on weights rounded elsewhere.
        """
        if self._weights == "f32":
            return expected
        return engine_answer(subject, self._weights)

    def _onnxruntime(self, subject: Subject, whole: Plan) -> Answer:
        def measured() -> Answer:
            with self._exchange(subject) as (exchange, task):
                exchange.offer("model.onnx", subject.path)
                task |= {
                    "measure": "onnxruntime",
                    "model": "model.onnx",
                    "input_names": list(subject.inputs),
                }
                return self._run(task, exchange, whole)

        # Nothing of ours takes part in it.
        images = self._board.root_image.parent.name
        return self._answered(measured, subject, "onnxruntime", images)

    def _sealed(self, subject: Subject, plan: Plan, device: str) -> Answer:
        def measured() -> Answer:
            return self._run_sealed(subject, plan, device)

        how = (device, plan.budget_bytes, self._weights, plan.suite)
        if plan.budget_bytes is None:
            how = (device, None, "f32", plan.suite)
        # Another planner makes something else of the same budget.
        made = (plan.page_bytes, hashlib.sha256(plan.program()).hexdigest())
        return self._answered(measured, subject, *how, *made, self._board.images_key)

    def _answered(
        self, measured: Callable[[], Answer], subject: Subject, *key: object
    ) -> Answer:
        key = (*key, subject.name, file_sha256(subject.path), _STEADY_RUNS)
        found = self._answers.get(*key)
        if found is None:
            found = measured()
            self._answers.put(found, *key)
        return found

    def _run_sealed(self, subject: Subject, plan: Plan, device: str) -> Answer:
        key = ModelKey.generate()
        path = self._folder / "model.sealed"
        seal(
            subject.path,
            path,
            plan=plan,
            signing_key=self._signing_key,
            model_id=key.model_id,
            content_key=key.content_key,
        )

        def license_for(device_key: bytes) -> bytes:
            return issue(
                model_key=key,
                device=DevicePublicKey.from_cose_key(device_key),
                signing_key=self._signing_key,
            )

        with self._exchange(subject) as (exchange, task):
            exchange.offer("model.sealed", path)
            exchange.on_question("license", license_for)
            task |= {
                "measure": "sealed",
                "device": device,
                "sealed": "model.sealed",
                "license": "license",
            }
            return self._run(task, exchange, plan)

    @contextlib.contextmanager
    def _exchange(self, subject: Subject) -> Iterator[tuple[Exchange, dict[str, Any]]]:
        with Exchange() as exchange:
            names = [f"input-{index}.npy" for index in range(len(subject.inputs))]
            for name, array in zip(names, subject.inputs.values(), strict=True):
                exchange.offer(name, bytes_of(array))
            task = {"folder": _GUEST_FOLDER, "inputs": names, "runs": _STEADY_RUNS}
            yield exchange, task

    def _run(self, task: dict[str, Any], exchange: Exchange, plan: Plan) -> Answer:
        # First run, steady runs, profile; onnxruntime takes up to three times ours.
        instructions = 3 * plan.expected_instructions * (_STEADY_RUNS + 2)
        answer = run_on_board(
            self._board.name,
            _GUEST_MODULE,
            task,
            exchange,
            timeout_seconds=_LEAST_SECONDS + instructions / _SLOWEST_PER_SECOND,
        )
        return answer, array_of(exchange.answer("outputs") or b"")


def make_row(
    model: str,
    budget: int,
    *,
    secure: Mapping[str, Any],
    plain: Mapping[str, Any],
    reference: Mapping[str, Any],
    error: float,
    weights: WeightsFormat = "f32",
    suite: str = DEFAULT_SUITE,
) -> Row:
    """Turn what the board answered into a row."""
    steady = secure["runs"][-1]
    stats = steady["stats"]
    ticks = stats["ticks"]
    if ticks is None:
        raise HarnessError(
            "the device's statistics have no time per phase",
            hint="measure a development build of the Trusted Application",
        )
    inside = {
        phase: round(ticks[phase] * 1e9 / ticks["hz"])
        for phase in ("decrypt", "compute", "move")
    }
    elapsed = [run["elapsed"] for run in secure["runs"]]
    profile = secure["profile"]
    return Row(
        model=model,
        budget_bytes=budget,
        secure_first_instructions=_first(secure),
        secure_steady_instructions=steady["elapsed"],
        plain_first_instructions=_first(plain),
        plain_instructions=plain["runs"][-1]["elapsed"],
        onnxruntime_first_instructions=_first(reference),
        onnxruntime_instructions=reference["runs"][-1]["elapsed"],
        decrypting_instructions=inside["decrypt"],
        computing_instructions=inside["compute"],
        moving_instructions=inside["move"],
        switching_instructions=steady["elapsed"] - sum(inside.values()),
        secure_call_instructions=sum(profile["commands"].values())
        - sum(inside.values()),
        spread_instructions=max(elapsed) - min(elapsed),
        secure_peak_bytes=stats["secure_peak_bytes"],
        weights_bytes=stats["weights_bytes"],
        decrypted_bytes=stats["decrypted_bytes"],
        load_decrypted_bytes=stats["load_decrypted_bytes"],
        moved_bytes=stats["moved_bytes"],
        spilled_bytes=stats["spilled_bytes"],
        world_switches=stats["world_switches"],
        max_rel_error=error,
        weights=weights,
        suite=suite,
    )


def _first(answer: Mapping[str, Any]) -> int:
    opened: int = answer.get("open", 0)
    loaded: int = answer["load"]
    inferred: int = answer["first_inference"]
    return opened + loaded + inferred


def _require_right(
    subject: Subject,
    who: str,
    outputs: npt.NDArray[np.float32],
    expected: npt.NDArray[np.float32],
) -> None:
    """A fast wrong answer is no result."""
    if outputs.shape != expected.shape:
        raise HarnessError(f"{subject.name}: {who} gave outputs of another size")
    error = _relative_error(outputs, expected)
    if not error <= MAX_REL_ERROR:
        raise HarnessError(
            f"{subject.name}: {who} answers wrongly: relative error {error:.2e}, "
            f"allowed {MAX_REL_ERROR:.0e}"
        )


def _relative_error(
    outputs: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]
) -> float:
    return float(np.abs(outputs - expected).max() / np.abs(expected).max())


def _failure(subject: Subject, budget: int, suite: str, error: Error) -> Failure:
    lines = error.message.splitlines()
    return Failure(subject.name, budget, error.code, lines[0] if lines else "", suite)


def _rounded(size: int) -> int:
    return -(-size // 4096) * 4096
