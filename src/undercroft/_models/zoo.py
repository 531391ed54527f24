# SPDX-License-Identifier: Apache-2.0
"""Networks of the literature with random weights, made on this machine.

Their builders are part of the project's tests (`tests/models`): only a checkout
has them. Each network is made once, in a process of its own (VGG-16 takes
1.8 GiB while it is made), and kept in the cache folder under a name that changes
with the builders::

    path("resnet-50")    # a file in the cache folder
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from undercroft._cache import cache_key, cache_root, file_sha256
from undercroft._host import last_lines
from undercroft.errors import EnvironmentMissingError, FileWriteError

INPUT_SHAPES: Final = {"x": (1, 3, 224, 224)}

_TESTS: Final = Path(__file__).parents[3] / "tests"
_BUILDERS: Final = _TESTS / "models"


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network of the literature.

    Attributes:
        title: One line for people.
        parameters: How many it has; running statistics do not count.
    """

    title: str
    parameters: int


ARCHITECTURES: Final = {
    "alexnet": Architecture("AlexNet (2012), two groups, LRN", 60_965_224),
    "vgg-16": Architecture("VGG-16 (2014)", 138_357_544),
    "squeezenet-1.1": Architecture("SqueezeNet 1.1 (2016)", 1_235_496),
    "googlenet": Architecture("GoogLeNet (2014), LRN", 6_998_552),
    "mobilenet-v1": Architecture("MobileNet V1 (2017)", 4_231_976),
    "mobilenet-v2": Architecture("MobileNet V2 (2018)", 3_504_872),
    "mobilenet-v3": Architecture("MobileNet V3 large (2019)", 5_483_032),
    "resnet-18": Architecture("ResNet-18 (2015)", 11_689_512),
    "resnet-50": Architecture("ResNet-50 (2015)", 25_557_032),
    "densenet-121": Architecture("DenseNet-121 (2016)", 7_978_856),
}


def path(name: str) -> Path:
    """Return a network as an ONNX file, making it when needed.

    Args:
        name: One of `ARCHITECTURES`.

    Returns:
        A file in the cache folder; do not change it.

    Raises:
        EnvironmentMissingError: There is no checkout, or the builder failed.
        FileWriteError: The cache folder cannot be written.
    """
    sources = sorted(_BUILDERS.glob("*.py"))
    if not sources:
        raise EnvironmentMissingError(
            f"the builder of {name} is not installed",
            hint="networks with random weights need a checkout of the project",
        )
    key = cache_key(*[(source.name, file_sha256(source)) for source in sources])
    file = cache_root() / "models" / f"{name}-{key}.onnx"
    if file.is_file():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=file.parent) as folder:
            made = Path(folder) / f"{name}.onnx"
            _build(name, made)
            made.replace(file)
    except OSError as error:
        raise FileWriteError(
            f"{file} cannot be written: {error.strerror}",
            hint="check the space left on that disk and its permissions",
        ) from error
    return file


def _build(name: str, made: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "models", name, str(made)],
        cwd=_TESTS,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0 or not made.is_file():
        raise EnvironmentMissingError(
            f"{name} cannot be made:\n{last_lines(done.stderr, 5)}",
            hint=f"see all of it with: cd tests && python -m models {name} FILE",
        )
