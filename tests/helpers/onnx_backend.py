# SPDX-License-Identifier: Apache-2.0
"""The node tests that come with ONNX, through the engine on this machine.

They feed every input at run time. What an operator needs to know in advance
(axes, shapes, weights) is made an initializer first, as is what is not float32;
everything else stays an input. Then the model is planned, sealed and run as any
other. Which tests pass is recorded::

    cd tests && python -m helpers.onnx_backend           # says what changed
    cd tests && python -m helpers.onnx_backend --write   # and records it
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from undercroft._device import open_device
from undercroft._device.base import Device
from undercroft._import.ops import handlers
from undercroft._spec import MIN_PAGE_BYTES
from undercroft.errors import Error
from undercroft.keys import DevicePublicKey, ProviderKey
from undercroft.license import issue
from undercroft.plan import plan
from undercroft.seal import seal
from undercroft.session import InferenceSession

Arrays = list[npt.NDArray[Any]]

PASS_LIST: Final = (
    Path(__file__).resolve().parent.parent / "parity" / "onnx_backend_pass.txt"
)
ATOL: Final = 1e-6
"""Beside each test's own relative tolerance (most often 1e-3): ONNX's own, 1e-7,
is below what float32 gives where large terms cancel out."""

CONSTANT_INPUTS: Final[Mapping[str, int]] = {
    "BatchNormalization": 1,
    "Clip": 1,
    "Conv": 1,
    "ConvTranspose": 1,
    "Dropout": 1,
    "Expand": 1,
    "Gather": 1,
    "Gemm": 1,
    "InstanceNormalization": 1,
    "LayerNormalization": 1,
    "Pad": 1,
    "ReduceMean": 1,
    "Reshape": 1,
    "Resize": 1,
    "Slice": 1,
    "Split": 1,
    "Squeeze": 1,
    "Tile": 1,
    "Unsqueeze": 1,
    "Upsample": 1,
}
"""From which input on an operator needs to know its inputs in advance."""


@dataclass(frozen=True, slots=True)
class NodeTest:
    """One test of ONNX's.

    Attributes:
        name: ONNX's name for it.
        model: The model, with some inputs made initializers.
        data: Pairs of inputs (by name) and expected outputs.
        rtol: The relative tolerance.
    """

    name: str
    model: onnx.ModelProto = field(repr=False)
    data: list[tuple[dict[str, npt.NDArray[Any]], Arrays]] = field(repr=False)
    rtol: float


@cache
def all_tests() -> Mapping[str, NodeTest]:
    """Return the tests that have supported operators only, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ONNX makes its values with overflows.
        cases = load_model_tests(kind="node")
    found = sorted(_supported(cases), key=lambda test: test.name)
    return {test.name: test for test in found}


def _supported(cases: list[Any]) -> Iterator[NodeTest]:
    known = set(handlers())
    for case in cases:
        if not {node.op_type for node in case.model.graph.node} <= known:
            continue
        arrays = [array for pair in case.data_sets for part in pair for array in part]
        if all(isinstance(array, np.ndarray) for array in arrays):
            yield _fixed(case)


def _fixed(case: Any) -> NodeTest:
    """Make initializers of the inputs that have to be known in advance."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    names = [value.name for value in model.graph.input]
    needed = {
        name
        for node in model.graph.node
        for name in node.input[CONSTANT_INPUTS.get(node.op_type, len(node.input)) :]
    }
    given = dict(zip(names, case.data_sets[0][0], strict=True))
    fixed = {
        name
        for name, array in given.items()
        if array.dtype != np.float32 or name in needed
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(given[name], name) for name in names if name in fixed
    )
    for value in list(model.graph.input):
        if value.name in fixed:
            model.graph.input.remove(value)
    data = []
    for inputs, outputs in case.data_sets:
        feeds = dict(zip(names, inputs, strict=True))
        if all(np.array_equal(feeds[name], given[name]) for name in fixed):
            kept = {name: feeds[name] for name in names if name not in fixed}
            data.append((kept, list(outputs)))
    return NodeTest(case.name, model, data, case.rtol)


class Machine:
    """The engine on this machine; a context manager."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The host device protects nothing.
            self.device: Device = open_device("host:")
        self.key = ProviderKey.generate()
        self.public = DevicePublicKey.from_cose_key(self.device.device_key())
        self.folder = tempfile.TemporaryDirectory(prefix="undercroft-backend-")

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.device.close()
        self.folder.cleanup()

    def run(self, test: NodeTest) -> None:
        """Plan, seal and run a test.

        Raises:
            Error: Something in it is not supported.
            AssertionError: The answer is wrong.
        """
        shapes = {name: array.shape for name, array in test.data[0][0].items()}
        made = plan(test.model, None, input_shapes=shapes, page_bytes=MIN_PAGE_BYTES)
        path = Path(self.folder.name) / "model.sealed"
        sealed = seal(test.model, path, plan=made, signing_key=self.key)
        license_bytes = issue(
            model_key=sealed.model_key, device=self.public, signing_key=self.key
        )
        with InferenceSession(
            path, license=license_bytes, device=self.device, keep_on_device=False
        ) as session:
            for feeds, expected in test.data:
                outputs = session.run(None, feeds)
                assert len(outputs) == len(expected)
                for output, wanted in zip(outputs, expected, strict=True):
                    np.testing.assert_allclose(
                        output, wanted, rtol=test.rtol, atol=ATOL
                    )
                    assert output.shape == wanted.shape


def recorded() -> list[str]:
    """Return the names of the tests that pass."""
    lines = PASS_LIST.read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def passes(machine: Machine, test: NodeTest) -> str:
    """Return why a test does not pass; empty when it does."""
    try:
        machine.run(test)
    except (Error, AssertionError) as reason:
        return " ".join(str(reason).split()) or type(reason).__name__
    return ""


def main() -> int:
    """Run all tests, say what changed, record it with `--write`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--reasons", action="store_true", help="why others fail")
    arguments = parser.parse_args()
    with Machine() as machine:
        results = {name: passes(machine, test) for name, test in all_tests().items()}
    passed = [name for name, reason in results.items() if not reason]
    before = set(recorded()) if PASS_LIST.exists() else set()
    for name in sorted(before.symmetric_difference(passed)):
        sign = "-" if name in before else "+"
        print(sign, name, results.get(name, "its operators are not supported"))
    if arguments.reasons:
        for name, reason in results.items():
            print(name, reason[:200] or "passes")
    print(f"{len(passed)} of {len(results)} node tests of supported operators pass")
    if arguments.write:
        PASS_LIST.write_text(
            f"# {len(passed)} of {len(results)} node tests of supported operators "
            f"in onnx {onnx.__version__} pass.\n"
            "# Written by: cd tests && python -m helpers.onnx_backend --write\n"
            + "".join(f"{name}\n" for name in passed),
            "utf-8",
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
