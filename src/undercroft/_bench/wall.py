# SPDX-License-Identifier: Apache-2.0
"""The engine against onnxruntime on this machine, by the clock on the wall.

Neither has any protection here: the engine runs as the `host:` device, planned
without a limit, so that all weights lie decrypted in memory, on one thread as always.
Inferences of both are timed in turns, so that what else the machine does hits both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from undercroft._bench.environment import host
from undercroft._bench.report import Failure
from undercroft._bench.subject import Subject, make_plan
from undercroft.errors import EnvironmentMissingError, Error, HarnessError
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
from undercroft.license import issue
from undercroft.seal import seal

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft.plan import WeightsFormat

    Infer = Callable[[], list[npt.NDArray[np.float32]]]

DEFAULT_ROUNDS: Final = 7
_MAX_REL_ERROR: Final = 1e-4
_PAGE_BYTES: Final = 4096

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WallRow:
    """One model, in seconds for one inference.

    Attributes:
        model: name or file of the network.
        engine_seconds: median.
        onnxruntime_seconds: median, one thread.
        engine_least_seconds: least of all rounds.
        onnxruntime_least_seconds: the same.
        rounds: how often each was timed.
        max_rel_error: between the two, relative to the largest magnitude.
    """

    model: str
    engine_seconds: float
    onnxruntime_seconds: float
    engine_least_seconds: float
    onnxruntime_least_seconds: float
    rounds: int
    max_rel_error: float

    @property
    def ratio(self) -> float:
        """Engine over onnxruntime, of the medians."""
        return self.engine_seconds / self.onnxruntime_seconds

    def as_dict(self) -> dict[str, Any]:
        """The fields and the ratio, as JSON has them."""
        return asdict(self) | {"ratio": round(self.ratio, 3)}


def measure_wall(
    subjects: Sequence[Subject],
    *,
    rounds: int = DEFAULT_ROUNDS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Time models on this machine.

    Args:
        subjects: the models.
        rounds: how often to time each, after one inference that is not timed.
        progress: told what is being done.

    Returns:
        `environment`, `rows` and `failures`, ready for JSON.
    """
    tell = progress or (lambda _message: None)
    rows, failures = [], []
    for subject in subjects:
        tell(f"{subject.name}: engine and onnxruntime in turns")
        try:
            rows.append(_row(subject, rounds).as_dict())
        except Error as error:
            first = error.message.splitlines()[0]
            failures.append(asdict(Failure(subject.name, 0, error.code, first)))
    environment = host() | {"onnxruntime": _onnxruntime_version()}
    return {"environment": environment, "rows": rows, "failures": failures}


def _row(subject: Subject, rounds: int) -> WallRow:
    with _engine(subject) as engine:
        reference = _onnxruntime(subject)
        got, expected = _joined(engine()), _joined(reference())
        error = float(np.abs(got - expected).max() / np.abs(expected).max())
        if not error <= _MAX_REL_ERROR:
            raise HarnessError(
                f"{subject.name}: the engine answers wrongly: relative error "
                f"{error:.2e}"
            )
        times: dict[Infer, list[float]] = {engine: [], reference: []}
        for _ in range(rounds):
            for infer, seconds in times.items():
                began = time.perf_counter()
                infer()
                seconds.append(time.perf_counter() - began)
    return WallRow(
        model=subject.name,
        engine_seconds=statistics.median(times[engine]),
        onnxruntime_seconds=statistics.median(times[reference]),
        engine_least_seconds=min(times[engine]),
        onnxruntime_least_seconds=min(times[reference]),
        rounds=rounds,
        max_rel_error=error,
    )


def engine_answer(subject: Subject, weights: WeightsFormat) -> npt.NDArray[np.float32]:
    """Return what the engine on this machine answers, all outputs in one row."""
    with _engine(subject, weights) as engine:
        return _joined(engine())


@contextmanager
def _engine(subject: Subject, weights: WeightsFormat = "f32") -> Iterator[Infer]:
    from undercroft._device.client import ModelClient
    from undercroft._device.host import HostDevice

    plan = make_plan(subject, None, weights)
    arena_bytes = -(-plan.arena_bytes // _PAGE_BYTES) * _PAGE_BYTES
    key, signing_key = ModelKey.generate(), ProviderKey.generate()
    inputs = list(subject.inputs.values())
    with (
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory(prefix="undercroft-bench-") as folder,
    ):
        warnings.simplefilter("ignore")  # The host device protects nothing.
        path = Path(folder) / "model.sealed"
        seal(
            subject.path,
            path,
            plan=plan,
            signing_key=signing_key,
            model_id=key.model_id,
            content_key=key.content_key,
        )
        device = HostDevice(f"host:?arena={arena_bytes}")
        try:
            public = DevicePublicKey.from_cose_key(device.device_key())
            license_bytes = issue(model_key=key, device=public, signing_key=signing_key)
            client = ModelClient(device.open(), path, license_bytes)
            yield lambda: client.infer(inputs)[0]
            client.close()
        finally:
            device.close()


def _onnxruntime(subject: Subject) -> Infer:
    onnxruntime = _import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(subject.path), options, providers=["CPUExecutionProvider"]
    )
    feeds: Mapping[str, Any] = dict(subject.inputs)
    return lambda: session.run(None, feeds)


def _onnxruntime_version() -> str:
    return str(_import_onnxruntime().__version__)


def _import_onnxruntime() -> Any:  # noqa: ANN401 a module without types
    try:
        import onnxruntime
    except ImportError as error:
        raise EnvironmentMissingError(
            "onnxruntime is not installed", hint="pip install onnxruntime"
        ) from error
    return onnxruntime


def _joined(outputs: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    return np.concatenate([output.reshape(-1) for output in outputs])
