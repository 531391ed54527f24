# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from undercroft._board import qemu
from undercroft._board.images import Images
from undercroft._board.qemu import Clock, Machine


def values_of(argv: list[str], option: str) -> list[str]:
    return [argv[i + 1] for i, word in enumerate(argv) if word == option]


@pytest.fixture
def argv(images: Images) -> list[str]:
    return qemu.arguments(Machine(images, Path("/b/state.ext4"), boot_time=1234))


def test_machine_has_a_secure_world_and_starts_paused(argv: list[str]) -> None:
    assert argv[0] == "qemu-system-aarch64"
    assert "-S" in argv
    (machine,) = values_of(argv, "-machine")
    assert "secure=on" in machine
    assert "gic-version=3" in machine
    assert values_of(argv, "-cpu") == ["cortex-a76"]


def test_ram_is_shared_and_never_written_to_disk(argv: list[str]) -> None:
    (memory,) = values_of(argv, "-object")
    assert "memory-backend-memfd" in memory
    assert "share=on" in memory


def test_kernel_and_initramfs_stay_clear_of_shared_memory(
    argv: list[str], images: Images
) -> None:
    loads = [word for word in values_of(argv, "-device") if word.startswith("loader")]
    assert f"loader,file={images.kernel},addr=0x44000000,force-raw=on" in loads
    assert f"loader,file={images.initramfs},addr=0x4a000000,force-raw=on" in loads
    (line,) = values_of(argv, "-append")
    assert "initrdmem=0x4a000000,100" in line
    assert "undercroft.time=1234" in line


def test_agent_is_reached_over_loopback_only(images: Images) -> None:
    argv = qemu.arguments(Machine(images, Path("/b/s"), host_port=4711))
    (net,) = values_of(argv, "-netdev")
    assert "hostfwd=tcp:127.0.0.1:4711-10.0.2.15:8080" in net


def test_images_are_read_only_and_the_state_disk_is_not(argv: list[str]) -> None:
    drives = {
        word.split("id=")[1].split(",")[0]: word for word in values_of(argv, "-drive")
    }
    assert set(drives) == {"root", "payload", "state"}
    assert "readonly=on" in drives["root"]
    assert "readonly=on" in drives["payload"]
    assert "readonly=off" in drives["state"]


def test_sockets_and_logs_are_named_relative_to_the_folder(argv: list[str]) -> None:
    for chardev in values_of(argv, "-chardev"):
        path = chardev.split("path=")[1].split(",")[0]
        assert "/" not in path


def test_first_serial_port_is_linux_and_second_is_op_tee(argv: list[str]) -> None:
    assert values_of(argv, "-serial") == ["chardev:console", "chardev:secure"]


def test_real_clock_has_two_cores(argv: list[str]) -> None:
    assert values_of(argv, "-smp") == ["2"]
    assert "-icount" not in argv


def test_instruction_clock_has_one_core_and_counts(images: Images) -> None:
    machine = Machine(images, Path("/b/s"), clock=Clock.INSTRUCTIONS)
    argv = qemu.arguments(machine)
    assert values_of(argv, "-smp") == ["1"]
    assert values_of(argv, "-icount") == ["shift=0,sleep=off"]


def test_comma_in_a_path_is_escaped(images: Images, tmp_path: Path) -> None:
    root = tmp_path / "a,b" / "root.ext4"
    argv = qemu.arguments(Machine(dataclasses.replace(images, root=root), Path("/b/s")))
    assert any("a,,b/root.ext4" in word for word in values_of(argv, "-drive"))
