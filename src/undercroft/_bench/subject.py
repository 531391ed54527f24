# SPDX-License-Identifier: Apache-2.0
"""What is measured: a network, and what it runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from undercroft._format.suites import DEFAULT_SUITE

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft.plan import Plan, WeightsFormat


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure.

    Attributes:
        name: what the report calls it.
        path: the ONNX file.
        inputs: what to run it on, by name, in the model's order.
    """

    name: str
    path: Path
    inputs: Mapping[str, npt.NDArray[np.float32]]

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Static shapes for the planner."""
        return {name: array.shape for name, array in self.inputs.items()}


def known_subject(name: str) -> Subject:
    """Return one of the real models, with a real photo where it takes one.

    Raises:
        ModelError: No model has this name.
        EnvironmentMissingError: Its package cannot be fetched.
    """
    from undercroft import _models
    from undercroft._models import imagenet

    model = _models.info(name)
    if name == "efficientnet-lite0":
        inputs = {"x": imagenet.photo_input()}
    else:
        inputs = random_inputs(model.input_shapes)
    return Subject(name=name, path=_models.get(name), inputs=inputs)


def file_subject(path: Path, shapes: Mapping[str, Sequence[int]]) -> Subject:
    """Return a model of the user's own, to be run on random inputs.

    Args:
        path: an ONNX file.
        shapes: static shapes for inputs whose shape is not.

    Raises:
        ModelError: it cannot be taken.
    """
    from undercroft.plan import plan

    inputs = plan(path, budget=None, input_shapes=shapes).inputs
    return Subject(
        name=path.stem,
        path=path,
        inputs=random_inputs({tensor.name: tensor.shape for tensor in inputs}),
    )


def random_inputs(
    shapes: Mapping[str, Sequence[int]], *, seed: int = 1
) -> dict[str, npt.NDArray[np.float32]]:
    """Return inputs between -1 and 1, the same for the same seed."""
    source = np.random.default_rng(seed)
    return {
        name: source.uniform(-1, 1, tuple(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def make_plan(
    subject: Subject,
    budget: int | None,
    weights: WeightsFormat = "f32",
    suite: str = DEFAULT_SUITE,
) -> Plan:
    """Plan for a budget in bytes; None: all weights stay decrypted."""
    from undercroft.plan import plan

    return plan(
        subject.path,
        budget=budget,
        input_shapes=subject.input_shapes,
        weights=weights,
        suite=suite,
    )
