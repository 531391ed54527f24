# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from undercroft._board import payload
from undercroft._board.payload import Payload
from undercroft.errors import HarnessError


def quiet(_message: str) -> None:
    pass


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    for name in ("__init__.py", "_device/agent.py", "_board/x.py", "_cli/y.py"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"NAME = {name!r}\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "junk.pyc").write_bytes(b"x")
    return folder


@pytest.fixture
def build(tmp_path: Path) -> Path:
    folder = tmp_path / "build"
    for name in ("ta/1234.ta", "ta/notes.txt", "engine-aarch64/libx.so"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def test_holds_programs_and_leaves_out_host_only_parts(
    package: Path, build: Path
) -> None:
    app = Payload.collect(build_folder=build, package_folder=package)
    assert set(app.files) == {
        "init",
        "python/undercroft/__init__.py",
        "python/undercroft/_device/agent.py",
        "ta/1234.ta",
        "lib/libx.so",
    }


def test_nothing_built_yet_is_fine(package: Path, tmp_path: Path) -> None:
    app = Payload.collect(build_folder=tmp_path / "none", package_folder=package)
    assert "init" in app.files


def test_same_content_is_the_same_key(package: Path, build: Path) -> None:
    one = Payload.collect(build_folder=build, package_folder=package)
    os.utime(package / "__init__.py", (0, 0))
    two = Payload.collect(build_folder=build, package_folder=package)
    assert one.key() == two.key()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda p, b: (p / "__init__.py").write_text("1"), id="content"),
        pytest.param(lambda p, b: (p / "new.py").write_text(""), id="new file"),
        pytest.param(lambda p, b: (b / "ta/1234.ta").unlink(), id="file gone"),
        pytest.param(lambda p, b: (b / "ta/1234.ta").chmod(0o755), id="permission"),
        pytest.param(lambda p, b: (b / "ta/1234.ta").rename(b / "ta/5.ta"), id="name"),
    ],
)
def test_any_change_is_another_key(package: Path, build: Path, change) -> None:
    before = Payload.collect(build_folder=build, package_folder=package).key()
    change(package, build)
    after = Payload.collect(build_folder=build, package_folder=package).key()
    assert before != after


def test_change_of_a_host_only_part_is_the_same_key(package: Path, build: Path) -> None:
    before = Payload.collect(build_folder=build, package_folder=package).key()
    (package / "_board" / "x.py").write_text("changed")
    after = Payload.collect(build_folder=build, package_folder=package).key()
    assert before == after


def test_extra_files_are_added_and_override(package: Path, build: Path) -> None:
    extra = {"bin/tool": build / "ta/notes.txt", "lib/libx.so": build / "ta/1234.ta"}
    app = Payload.collect(build_folder=build, package_folder=package, extra=extra)
    assert app.files["bin/tool"] == build / "ta/notes.txt"
    assert app.files["lib/libx.so"] == build / "ta/1234.ta"


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", "."])
def test_extra_path_outside_is_refused(package: Path, build: Path, name: str) -> None:
    with pytest.raises(HarnessError, match="not a path below"):
        Payload.collect(
            build_folder=build,
            package_folder=package,
            extra={name: build / "ta/1234.ta"},
        )


def test_missing_extra_file_is_refused(package: Path, build: Path) -> None:
    with pytest.raises(HarnessError, match="no file"):
        Payload.collect(
            build_folder=build, package_folder=package, extra={"x": build / "none"}
        )


def test_disk_image_holds_the_files(
    package: Path, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "compile_trees", lambda *_words: None)
    app = Payload.collect(build_folder=build, package_folder=package)
    folder = tmp_path / "board"
    folder.mkdir()
    image = app.build(folder, quiet) / payload.IMAGE_NAME
    # debugfs is not ours: it says what Linux would find on the disk.
    shown = subprocess.run(
        ["/usr/sbin/debugfs", "-R", "cat /ta/1234.ta", str(image)],
        capture_output=True,
        check=True,
    ).stdout
    assert shown == b"ta/1234.ta"


def test_second_build_is_a_cache_hit(
    package: Path, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "compile_trees", lambda *_words: None)
    app = Payload.collect(build_folder=build, package_folder=package)
    folder = tmp_path / "board"
    folder.mkdir()
    told: list[str] = []
    first = app.build(folder, told.append)
    assert len(told) == 1
    assert app.build(folder, told.append) == first
    assert len(told) == 1


def test_old_payloads_are_deleted(
    package: Path, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "compile_trees", lambda *_words: None)
    folder = tmp_path / "board"
    folder.mkdir()
    for number in range(payload._KEPT_PAYLOADS + 3):
        (package / "__init__.py").write_text(f"N = {number}\n")
        app = Payload.collect(build_folder=build, package_folder=package)
        last = app.build(folder, quiet)
        os.utime(last, (number, number))
    assert last.is_dir()
    assert len(list(folder.glob("payload-*"))) == payload._KEPT_PAYLOADS
