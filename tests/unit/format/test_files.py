# SPDX-License-Identifier: Apache-2.0
"""Files appear whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from undercroft._format.files import (
    SECRET_MODE,
    atomic_file,
    read_secret_file,
    read_small_file,
    write_file,
)
from undercroft.errors import FileAccessError, FileWriteError, FormatError


def modes(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_appears_with_the_end_of_the_block(tmp_path):
    path = tmp_path / "file"
    with atomic_file(path) as stream:
        stream.write(b"content")
        stream.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing_behind_and_the_old_file_alone(tmp_path, failure):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic_file(path) as stream:
            stream.write(b"half of the n")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_secret_is_never_open_to_others(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _: 0)
    path = tmp_path / "secret"
    with atomic_file(path, mode=SECRET_MODE) as stream:
        stream.write(b"secret")
        (scratch,) = tmp_path.iterdir()
        assert modes(scratch) == 0o600
    assert modes(path) == 0o600


def test_a_public_file_obeys_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert modes(tmp_path / "file") == 0o640


def test_an_existing_file_is_kept_when_asked(tmp_path):
    path = tmp_path / "file"
    write_file(path, b"first", overwrite=False)
    with pytest.raises(FileWriteError, match="exists already"):
        write_file(path, b"second", overwrite=False)
    assert path.read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileWriteError) as caught:
        write_file(tmp_path / "no" / "file", b"")
    assert "no/file" in caught.value.message
    assert caught.value.hint


def test_a_full_disk_leaves_nothing_and_says_how_much_is_free(tmp_path):
    """A limit on the size of files stands for a full disk: write(2) fails."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from undercroft._format.files import atomic_file\n"
        "from undercroft.errors import FileWriteError\n"
        "limit = (100_000, resource.RLIM_INFINITY)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, limit)\n"
        "try:\n"
        f"    with atomic_file(Path({str(tmp_path / 'file')!r})) as stream:\n"
        "        for _ in range(100):\n"
        "            stream.write(bytes(10_000))\n"
        "except FileWriteError as error:\n"
        "    print(error.message, error.hint, sep='\\n')\n"
        "    sys.exit(error.exit_code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "nothing was left behind" in done.stdout
    assert "MiB are free in" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_small_file_has_a_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    assert read_small_file(path, limit_bytes=10, what="thing") == bytes(10)
    with pytest.raises(FormatError, match="not a thing"):
        read_small_file(path, limit_bytes=9, what="thing")


@pytest.mark.parametrize("reader", [read_small_file, read_secret_file])
def test_what_cannot_be_read_is_said(tmp_path, reader):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(FileAccessError) as caught:
            reader(path, limit_bytes=9, what="thing")
        assert str(path) in caught.value.message


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_secret_open_to_others_is_refused_with_the_command(tmp_path, mode):
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    path.chmod(mode)
    with pytest.raises(FileAccessError) as caught:
        read_secret_file(path, limit_bytes=9, what="thing")
    assert caught.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    assert read_secret_file(path, limit_bytes=9, what="thing") == b"secret"
