# SPDX-License-Identifier: Apache-2.0
"""The whole story on a real network and a real photo.

Provider: plan, seal, license. Device: load, infer in the secure world.
Judge: onnxruntime on the same photo, and a search of the device's normal-world
memory for anything secret. `undercroft demo` prints what this returns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from undercroft._models import imagenet
from undercroft.errors import DeviceError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from undercroft._board import BoardInfo
    from undercroft._leakproof import Proof
    from undercroft._models.imagenet import Guess
    from undercroft.plan import Plan
    from undercroft.verify import Verification

MODEL: Final = "efficientnet-lite0"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo shows.

    Attributes:
        verification: the sealed run against onnxruntime.
        guesses: top 5 out of the secure world.
        guesses_onnxruntime: top 5 of onnxruntime.
        file_bytes: size of the sealed file.
        license_bytes: size of the license.
        public: what anybody can learn from the sealed file.
        optee_version: of the secure world, or None on a device without one.
        proof: the search of the board's normal world, or None without a board.
    """

    verification: Verification
    guesses: tuple[Guess, ...]
    guesses_onnxruntime: tuple[Guess, ...]
    file_bytes: int
    license_bytes: int
    public: dict[str, Any]
    optee_version: str | None
    proof: Proof | None

    @property
    def passed(self) -> bool:
        """Whether the answer is onnxruntime's and nothing leaked."""
        same = self.guesses[0].class_index == self.guesses_onnxruntime[0].class_index
        clean = self.proof is None or self.proof.result.clean
        return self.verification.passed and same and clean

    def as_dict(self) -> dict[str, Any]:
        """The fields that `undercroft demo --json` prints."""
        return self.verification.as_dict() | {
            "passed": self.passed,
            "label": self.guesses[0].label,
            "label_onnxruntime": self.guesses_onnxruntime[0].label,
            "top5": [guess._asdict() for guess in self.guesses],
            "top5_onnxruntime": [guess._asdict() for guess in self.guesses_onnxruntime],
            "optee_version": self.optee_version,
            "file_bytes": self.file_bytes,
            "license_bytes": self.license_bytes,
            "proof": self.proof.line if self.proof else None,
            "leaked_windows": self.proof.leaked_windows if self.proof else None,
        }


def make_plan(budget: str, suite: str) -> Plan:
    """Plan the demo's network.

    Raises:
        BudgetExceededError: it does not fit.
        EnvironmentMissingError: its package cannot be fetched.
    """
    from undercroft import _models
    from undercroft.plan import plan

    return plan(_models.get(MODEL), budget=budget, suite=suite)


def run(plan: Plan, *, device_uri: str, photo: str, tell: Tell) -> Demo:
    """Seal, license, run, compare and search.

    Args:
        plan: from `make_plan`.
        device_uri: `board:`, or another device; only a board is searched.
        photo: a name of `imagenet.PHOTOS`.
        tell: called with a sentence at each stage.

    Raises:
        Error: any of the library's errors; see `undercroft.errors`.
    """
    from undercroft import _models
    from undercroft._bench.environment import optee_version
    from undercroft._device import open_device
    from undercroft._leakproof import Secrets, quick_proof
    from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
    from undercroft.license import issue
    from undercroft.seal import seal
    from undercroft.sealed import SealedModel
    from undercroft.session import InferenceSession
    from undercroft.verify import DEFAULT_TOLERANCE, Verification, compare

    model = _models.get(MODEL)
    image = imagenet.photo_input(photo)
    feeds = {plan.inputs[0].name: image}
    key, model_key = ProviderKey.generate(), ModelKey.generate()
    with tempfile.TemporaryDirectory(prefix="undercroft-demo-") as folder:
        path = Path(folder) / "model.sealed"
        tell("sealing: every page of program and weights is encrypted")
        sealed = seal(
            model,
            path,
            plan=plan,
            signing_key=key,
            model_id=model_key.model_id,
            content_key=model_key.content_key,
        )
        with SealedModel.open(path) as opened:
            public = opened.inspect()
        tell("starting the device")
        board = _board_of(device_uri, tell)
        device = open_device(device_uri)
        try:
            tell("issuing a license for this device")
            license_bytes = issue(
                model_key=model_key,
                device=DevicePublicKey.from_cose_key(device.device_key()),
                signing_key=key,
            )
            tell("loading the sealed model")
            with InferenceSession(
                path, license=license_bytes, device=device, keep_on_device=False
            ) as session:
                tell("running in the secure world")
                (logits,) = session.run(None, feeds)
                stats = session.last_stats
                if stats is None:
                    raise DeviceError("the device gave no statistics")
                proof = None
                if board is not None:
                    secrets = Secrets.of(plan, path, model_key, onnx_path=model)
                    proof = quick_proof(
                        board,
                        secrets,
                        infer=lambda: session.run(None, feeds),
                        progress=tell,
                    )
            kind = device.kind
        finally:
            device.close()
    tell("running onnxruntime")
    expected = _run_onnxruntime(model, feeds)
    comparison = compare(plan.outputs[0].name, logits, expected, DEFAULT_TOLERANCE)
    return Demo(
        verification=Verification(
            model=MODEL,
            device=kind,
            tolerance=DEFAULT_TOLERANCE,
            outputs=(comparison,),
            stats=stats,
            budget_bytes=plan.budget_bytes,
            planned_bytes=plan.arena_bytes,
            suite=plan.suite,
            schemes=plan.schemes,
        ),
        guesses=tuple(imagenet.top(logits, 5)),
        guesses_onnxruntime=tuple(imagenet.top(expected, 5)),
        file_bytes=sealed.file_bytes,
        license_bytes=len(license_bytes),
        public=public,
        optee_version=optee_version(board.secure_log) if board else None,
        proof=proof,
    )


def _board_of(device_uri: str, tell: Tell) -> BoardInfo | None:
    """Return the emulated board behind a URI, up; None for another device."""
    if not device_uri.startswith("board:"):
        return None
    from undercroft import _board

    name = device_uri.removeprefix("board:").partition("?")[0]
    return _board.ensure_up(name or _board.DEFAULT_NAME, progress=tell)


def _run_onnxruntime(
    model: Path, feeds: dict[str, npt.NDArray[np.float32]]
) -> npt.NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, feeds)
    array: npt.NDArray[np.float32] = logits
    return array
