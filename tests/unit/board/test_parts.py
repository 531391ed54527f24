# SPDX-License-Identifier: Apache-2.0
"""The parts of the images: flash, initramfs archive, disks, root file system."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from undercroft._board import ext4, firmware, kernel, recipe, rootfs
from undercroft._board.cpio import Entry, archive
from undercroft.errors import HarnessError


def test_flash_has_its_parts_at_their_places(tmp_path: Path) -> None:
    flash = tmp_path / "flash.bin"
    firmware.write_flash(flash, b"first stage", b"image package")
    data = flash.read_bytes()
    assert len(data) == 64 * 2**20
    assert data.startswith(b"first stage\0")
    assert data[0x40000:].startswith(b"image package\0")


@pytest.mark.parametrize(
    ("first_stage", "image_package"), [(0x40001, 1), (1, 64 * 2**20 - 0x40000 + 1)]
)
def test_firmware_too_large_for_the_flash(
    tmp_path: Path, first_stage: int, image_package: int
) -> None:
    with pytest.raises(HarnessError, match="does not fit"):
        firmware.write_flash(
            tmp_path / "flash.bin", bytes(first_stage), bytes(image_package)
        )
    assert not (tmp_path / "flash.bin").exists()


def test_archive_is_read_by_cpio(tmp_path: Path) -> None:
    data = archive(
        [
            Entry.folder("bin"),
            Entry.file("bin/tool", b"12345", executable=True),
            Entry.link("bin/alias", "tool"),
            Entry.file("empty", b""),
        ]
    )
    subprocess.run(["cpio", "-id", "--quiet"], input=data, cwd=tmp_path, check=True)
    assert (tmp_path / "bin/tool").read_bytes() == b"12345"
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "bin/alias").readlink() == Path("tool")
    assert (tmp_path / "empty").read_bytes() == b""


def test_archive_of_the_same_entries_is_the_same_bytes() -> None:
    entries = [Entry.file("a", b"1"), Entry.folder("b")]
    assert archive(entries) == archive(list(entries))


def test_initramfs_loads_modules_in_order(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/busybox").write_bytes(b"busybox")
    for name in recipe.KERNEL_MODULES:
        (tmp_path / f"{name}.ko").write_bytes(name.encode())
    entries = {entry.path: entry for entry in kernel._initramfs(tmp_path)}
    modules = [path for path in entries if path.startswith("modules/")]
    assert modules == sorted(modules)
    assert entries[modules[-1]].data == b"optee"
    assert entries["init"].mode & stat.S_IXUSR


def test_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="'optee'"):
        kernel._module(tmp_path, "optee")


def test_disk_image_keeps_files_links_and_modes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    (tree / "folder" / "file").write_bytes(b"content")
    (tree / "link").symlink_to("/far/away")
    image = tmp_path / "image"
    ext4.make_read_only_image(tree, image, label="test")

    def ask(command: str) -> str:
        return subprocess.run(
            ["/usr/sbin/debugfs", "-R", command, str(image)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert ask("cat /folder/file") == "content"
    assert "/far/away" in ask("stat /link")
    checked = subprocess.run(["/usr/sbin/e2fsck", "-fn", str(image)], check=False)
    assert checked.returncode == 0


def test_empty_image_is_sparse(tmp_path: Path) -> None:
    image = tmp_path / "image"
    ext4.make_empty_image(image, 256 * 2**20, label="test")
    assert image.stat().st_size == 256 * 2**20
    assert image.stat().st_blocks * 512 < 16 * 2**20


def test_root_is_furnished(tmp_path: Path) -> None:
    (tmp_path / "usr/share/doc").mkdir(parents=True)
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3").write_bytes(b"")
    (tmp_path / "usr/bin/ls").write_bytes(b"not busybox")
    (tmp_path / "usr/lib/optee_armtz").mkdir(parents=True)
    rootfs.furnish(tmp_path)
    assert not (tmp_path / "usr/share").exists()
    assert (tmp_path / "opt/undercroft").is_dir()
    assert (tmp_path / "lib").readlink() == Path("usr/lib")
    assert (tmp_path / "usr/lib/optee_armtz").readlink() == Path("/opt/undercroft/ta")
    assert (tmp_path / "usr/bin/sh").readlink() == Path("busybox")
    assert (tmp_path / "usr/bin/ls").read_bytes() == b"not busybox"


@pytest.mark.parametrize("script", ["init.sh", "initramfs.sh"])
def test_guest_scripts_are_shell(script: str) -> None:
    subprocess.run(["sh", "-n", kernel.GUEST_FILES / script], check=True)


def test_host_and_board_agree_on_words() -> None:
    text = "".join(path.read_text() for path in kernel.GUEST_FILES.glob("*.sh"))
    for word in (
        "tee-ready",
        "tee-missing",
        "agent-starting",
        "agent-absent",
        "disk-failed",
        "$name-ended",
        "undercroft.time",
        "undercroft.address",
    ):
        assert word in text
