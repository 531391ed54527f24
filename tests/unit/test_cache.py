# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest

from undercroft import _cache
from undercroft._cache import cache_key, cache_root, cached_folder, locked
from undercroft.errors import HarnessError


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"UNDERCROFT_CACHE": "{tmp}/a"}, "a"),
        ({"XDG_CACHE_HOME": "{tmp}/b"}, "b/undercroft"),
        ({"HOME": "{tmp}/c"}, "c/.cache/undercroft"),
        ({"UNDERCROFT_CACHE": "{tmp}/d", "XDG_CACHE_HOME": "{tmp}/e"}, "d"),
        ({"UNDERCROFT_CACHE": "", "XDG_CACHE_HOME": "{tmp}/f"}, "f/undercroft"),
    ],
)
def test_place_of_the_cache(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    expected: str,
) -> None:
    for name in ("UNDERCROFT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    assert cache_root() == tmp_path / expected
    assert cache_root().stat().st_mode & 0o777 == 0o700


def test_place_that_cannot_be_made_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNDERCROFT_CACHE", str(tmp_path / "file" / "x"))
    with pytest.raises(HarnessError) as caught:
        cache_root()
    assert "UNDERCROFT_CACHE" in caught.value.hint


def test_key_depends_on_every_part() -> None:
    assert cache_key("a", ["b"]) == cache_key("a", ["b"])
    assert len({cache_key("a", "b"), cache_key("ab"), cache_key(["a", "b"])}) == 3


def test_folder_is_built_once(tmp_path: Path) -> None:
    calls = []

    def build(scratch: Path) -> dict[str, Any]:
        calls.append(scratch)
        (scratch / "x").write_text("1")
        return {"what": 1}

    folder = tmp_path / "thing-1"
    assert cached_folder(folder, build) == folder
    assert cached_folder(folder, build) == folder
    assert (folder / "x").read_text() == "1"
    assert len(calls) == 1
    assert cached_folder(folder, build, refresh=True) == folder
    assert len(calls) == 2


@pytest.mark.parametrize("error", [HarnessError("no"), KeyboardInterrupt()])
def test_failed_build_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def build(scratch: Path) -> dict[str, Any]:
        (scratch / "half").write_text("1")
        raise error

    with pytest.raises(type(error)):
        cached_folder(tmp_path / "thing-1", build)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    def build(_scratch: Path) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(HarnessError, match="No space left"):
        cached_folder(tmp_path / "thing-1", build)


def test_folder_without_manifest_is_built_again(tmp_path: Path) -> None:
    folder = tmp_path / "thing-1"
    folder.mkdir()
    (folder / "left over").touch()
    cached_folder(folder, lambda _scratch: {})
    assert not (folder / "left over").exists()


def test_two_threads_build_once(tmp_path: Path) -> None:
    started = threading.Event()
    calls = []

    def build(_scratch: Path) -> dict[str, Any]:
        calls.append(1)
        started.wait(0.3)
        return {}

    threads = [
        threading.Thread(target=cached_folder, args=(tmp_path / "t", build))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_lock_held_too_long_is_an_error(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock"),
        pytest.raises(HarnessError, match="another process"),
        locked(tmp_path / "lock", timeout_seconds=0.2),
    ):
        pass


def test_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), locked(tmp_path / "lock"):
        raise ValueError("x")
    with locked(tmp_path / "lock", timeout_seconds=0.2):
        pass


def test_file_hash_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert _cache.file_sha256(path).startswith("ba7816bf8f01cfea")
