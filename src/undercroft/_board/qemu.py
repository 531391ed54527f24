# SPDX-License-Identifier: Apache-2.0
"""The command line of the emulated machine.

``arguments`` only computes; a person can print it and run it by hand in the
board's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from undercroft._board import recipe
from undercroft._board.images import Images

PROGRAM = "qemu-system-aarch64"

# Names of files in the board's folder, which is QEMU's working folder: a
# socket's path must be short, and the cache folder's need not be.
CONSOLE_LOG = "console.log"
SECURE_LOG = "secure.log"
AGENT_LOG = "agent.log"
CONSOLE_SOCKET = "console.sock"
CONTROL_SOCKET = "control.sock"
QMP_SOCKET = "qmp.sock"
RAM_LINK = "ram"
RAM_DESCRIPTOR = "/memfd:memory-backend-memfd"
"""What QEMU's descriptor of the machine's memory is called in /proc."""
STATE_IMAGE = "state.ext4"


class Clock(StrEnum):
    """What drives the board's time."""

    REAL = "real"
    """The host's clock; two cores; as fast as the emulator goes."""

    INSTRUCTIONS = "instructions"
    """One nanosecond for each instruction executed; one core; repeatable."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The settings of one board."""

    images: Images
    state_image: Path
    clock: Clock = Clock.REAL
    host_port: int = 0
    """Port on the host's loopback interface; 0 lets the host choose."""
    boot_time: int = 0
    """Seconds since 1970 that the board's clock starts from."""
    large: bool = False
    """Whether it has memory for networks of hundreds of megabytes."""

    @property
    def ram_bytes(self) -> int:
        """Memory of the normal world and of OP-TEE's shared memory."""
        return recipe.LARGE_RAM_BYTES if self.large else recipe.RAM_BYTES


def arguments(machine: Machine) -> list[str]:
    """Return QEMU's arguments, the program's name first."""
    images = machine.images
    initramfs_bytes = images.initramfs.stat().st_size
    kernel_line = " ".join(
        [
            "console=ttyAMA0",
            "rdinit=/init",
            "panic=-1",
            f"initrdmem={recipe.INITRAMFS_ADDRESS:#x},{initramfs_bytes}",
            f"undercroft.time={machine.boot_time}",
            f"undercroft.address={recipe.GUEST_ADDRESS}",
            # The agent reads it: only then is a nanosecond an instruction.
            f"undercroft.clock={machine.clock.value}",
        ]
    )
    forward = (
        f"hostfwd=tcp:127.0.0.1:{machine.host_port}"
        f"-{recipe.GUEST_ADDRESS}:{recipe.AGENT_PORT}"
    )
    return [
        PROGRAM,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        # Paused until somebody reads the console and has seen it start well.
        "-S",
        "-no-reboot",
        "-machine",
        "virt,secure=on,gic-version=3,memory-backend=ram",
        "-cpu",
        recipe.CPU,
        *_clock_arguments(machine.clock),
        "-m",
        f"size={machine.ram_bytes // 2**20}M",
        # Shared, so that a test can look at all of the normal world's memory; in
        # the host's memory only, because a file would be written back to disk
        # for as long as the board runs.
        "-object",
        f"memory-backend-memfd,id=ram,size={machine.ram_bytes},share=on",
        "-bios",
        str(images.flash),
        "-kernel",
        str(images.kernel),
        "-append",
        kernel_line,
        *_loader(images.kernel, recipe.KERNEL_ADDRESS),
        *_loader(images.initramfs, recipe.INITRAMFS_ADDRESS),
        *_disk("root", images.root, read_only=True),
        *_disk("payload", images.payload, read_only=True),
        *_disk("state", machine.state_image, read_only=False),
        "-netdev",
        f"user,id=net,{forward}",
        "-device",
        "virtio-net-pci,netdev=net,romfile=",
        # First serial port: Linux. Second: OP-TEE.
        "-chardev",
        f"socket,id=console,path={CONSOLE_SOCKET},server=on,wait=off,"
        f"logfile={CONSOLE_LOG}",
        "-serial",
        "chardev:console",
        "-chardev",
        f"file,id=secure,path={SECURE_LOG}",
        "-serial",
        "chardev:secure",
        # hvc0: the agent's and the supplicant's words.
        "-device",
        "virtio-serial-pci",
        "-chardev",
        f"file,id=agent,path={AGENT_LOG}",
        "-device",
        "virtconsole,chardev=agent",
        # ttyS0: commands. Not a second virtio console: QEMU drops what such a
        # console prints faster than the other end reads.
        "-chardev",
        f"socket,id=control,path={CONTROL_SOCKET},server=on,wait=off",
        "-device",
        "pci-serial,chardev=control",
        "-chardev",
        f"socket,id=qmp,path={QMP_SOCKET},server=on,wait=off",
        "-mon",
        "chardev=qmp,mode=control",
    ]


def _clock_arguments(clock: Clock) -> Sequence[str]:
    if clock is Clock.INSTRUCTIONS:
        return ("-smp", "1", "-icount", "shift=0,sleep=off")
    return ("-smp", str(recipe.CORES))


def _loader(path: Path, address: int) -> Sequence[str]:
    return (
        "-device",
        f"loader,file={_escaped(path)},addr={address:#x},force-raw=on",
    )


def _disk(name: str, path: Path, *, read_only: bool) -> Sequence[str]:
    access = "on" if read_only else "off"
    return (
        "-drive",
        f"if=none,id={name},format=raw,readonly={access},file={_escaped(path)}",
        "-device",
        f"virtio-blk-pci,drive={name},serial={name}",
    )


def _escaped(path: Path) -> str:
    """Double the commas, which separate settings in QEMU's arguments."""
    return str(path).replace(",", ",,")
