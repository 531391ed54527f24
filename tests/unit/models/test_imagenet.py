# SPDX-License-Identifier: Apache-2.0
"""Photo, class names and pre-processing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undercroft._models import imagenet, packages
from undercroft.errors import FileAccessError, FormatError, ModelError


@pytest.mark.parametrize("size", [(224, 224), (640, 480), (37, 500), (1, 1)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1"])
def test_any_picture_gives_the_input_of_the_network(
    size: tuple[int, int], mode: str
) -> None:
    x = imagenet.preprocess(Image.new(mode, size))
    assert x.shape == (1, 3, 224, 224)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous


def test_channels_are_red_green_blue_and_scaled() -> None:
    x = imagenet.preprocess(Image.new("RGB", (300, 200), (255, 127, 0)))
    np.testing.assert_array_equal(x[0, 0], 1.0)
    np.testing.assert_array_equal(x[0, 1], 0.0)
    np.testing.assert_array_equal(x[0, 2], -127 / 128)


def test_the_centre_is_kept() -> None:
    """Of 512 x 256 pixels, 16 at the top and bottom and 144 at each side go."""
    image = Image.new("RGB", (512, 256), "black")
    image.paste("white", (144, 16, 368, 240))
    x = imagenet.preprocess(image)
    np.testing.assert_array_equal(x, 1.0)


def test_rows_stay_rows() -> None:
    image = Image.new("RGB", (256, 256), "black")
    image.paste("white", (0, 0, 256, 128))
    x = imagenet.preprocess(image)
    np.testing.assert_array_equal(x[0, :, :100], 1.0)
    np.testing.assert_array_equal(x[0, :, 124:], -127 / 128)


def test_own_picture_is_read_upright(tmp_path: Path) -> None:
    """A phone stores a portrait lying on its side and says so in the EXIF data."""
    file = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30), "red").save(file, exif=exif)
    assert imagenet.load_image(file).size == (30, 40)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n\0\0"])
def test_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(content)
    with pytest.raises(FormatError, match="not a readable picture"):
        imagenet.load_image(file)


def test_truncated_picture_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    Image.effect_noise((64, 64), 50).save(file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(FormatError, match="not a readable picture"):
        imagenet.load_image(file)


def test_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileAccessError, match=r"photo\.png"):
        imagenet.load_image(tmp_path / "photo.png")


def test_unknown_photo_names_those_there_are() -> None:
    with pytest.raises(ModelError, match="cat, coffee"):
        imagenet.photo("dog")


@pytest.mark.models
def test_photos_are_real() -> None:
    assert imagenet.photo("cat").size == (451, 300)
    assert imagenet.photo("coffee").size == (600, 400)
    x = imagenet.photo_input()
    assert x.shape == (1, 3, 224, 224)
    assert x.std() > 0.1


@pytest.mark.models
def test_class_names_are_in_the_order_of_imagenet() -> None:
    names = imagenet.class_names()
    assert len(names) == 1000
    known = {
        0: "tench, Tinca tinca",
        281: "tabby, tabby cat",
        282: "tiger cat",
        504: "coffee mug",
        967: "espresso",
        999: "toilet tissue, toilet paper, bathroom tissue",
    }
    assert {index: names[index] for index in known} == known


@pytest.mark.models
def test_top_is_sorted_and_sums_to_one() -> None:
    logits = np.random.default_rng(3).standard_normal((1, 1000)).astype(np.float32)
    logits[0, 967] = 9
    guesses = imagenet.top(logits, 1000)
    probabilities = [guess.probability for guess in guesses]
    assert guesses[0][:2] == (967, "espresso")
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)


@pytest.mark.parametrize("bad", [np.zeros(10), np.full(1000, np.nan)])
def test_top_of_other_values_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(FormatError, match="1000 finite logits"):
        imagenet.top(bad)


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"0": "tench"}', b"\xff"])
def test_damaged_class_names_are_refused(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(packages, "read_member", lambda *_: content)
    with pytest.raises(FormatError, match="class names"):
        imagenet.class_names()
