# SPDX-License-Identifier: Apache-2.0
"""What the emulated board is made of: packages, addresses, settings.

Every value here is part of a cache key. Change one and the image that it goes
into, and only that image, is assembled anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ARCH = "arm64"

# Firmware ---------------------------------------------------------------
OPTEE_PACKAGE = "optee-os"
OPTEE_FOLDER = "usr/lib/optee/vexpress-qemu_armv8a"
FIRMWARE_SOURCE = "arm-trusted-firmware"
FLASH_BYTES = 64 * 1024 * 1024
FIP_OFFSET_BYTES = 256 * 1024

# OP-TEE's shared memory lies at 0x42000000; a kernel at the customary
# 0x40400000 would run into it, so kernel and initramfs lie above.
DEVICE_TREE_ADDRESS = 0x4000_0000
KERNEL_ADDRESS = 0x4400_0000
INITRAMFS_ADDRESS = 0x4A00_0000

FIRMWARE_SETTINGS: Sequence[str] = (
    "CROSS_COMPILE=aarch64-linux-gnu-",
    "PLAT=qemu",
    "QEMU_USE_GIC_DRIVER=QEMU_GICV3",
    "SPD=opteed",
    # Leaves the counter's access bits as Linux set them when worlds change, so
    # that a development build of the Trusted Application can time its phases.
    "NS_TIMER_SWITCH=0",
    "BL32_RAM_LOCATION=tdram",
    "ARM_LINUX_KERNEL_AS_BL33=1",
    f"PRELOADED_BL33_BASE={KERNEL_ADDRESS:#x}",
    f"ARM_PRELOADED_DTB_BASE={DEVICE_TREE_ADDRESS:#x}",
)
FIRMWARE_IMAGES: Mapping[str, str] = {
    "BL32": "tee-header_v2.bin",
    "BL32_EXTRA1": "tee-pager_v2.bin",
    "BL32_EXTRA2": "tee-pageable_v2.bin",
}

# Linux --------------------------------------------------------------------
KERNEL_PACKAGE = "linux-image-cloud-arm64"
BUSYBOX_PACKAGE = "busybox-static"
# In the order in which they are loaded.
KERNEL_MODULES: Sequence[str] = (
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "tee",
    "optee",
)

# Root file system ---------------------------------------------------------
ROOT_PACKAGES: Sequence[str] = (
    "busybox-static",
    "libteec2",
    "python3",
    "python3-cbor2",
    "python3-numpy",
    "python3-onnxruntime",
    "python3-starlette",
    "python3-uvicorn",
    "tee-supplicant",
)
# Dependencies on paper only: nothing that runs on the board opens them.
UNUSED_PACKAGES: Sequence[str] = (
    "debconf",
    "dpkg",
    "gcc-14-base",
    "media-types",
    "openssl-provider-legacy",
    "python3-mpmath",
    "python3-numpy-dev",
    "python3-sympy",
    "readline-common",
    "tar",
    "tzdata",
)
UNUSED_PATHS: Sequence[str] = (
    "usr/include",
    "usr/lib/aarch64-linux-gnu/gconv",
    "usr/lib/python3/dist-packages/onnxruntime/quantization",
    "usr/lib/python3/dist-packages/onnxruntime/tools",
    "usr/lib/python3/dist-packages/onnxruntime/transformers",
    "usr/share",
    "var",
)
ROOT_FOLDERS: Sequence[str] = (
    "dev",
    "etc",
    "opt/undercroft",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/sbin",
    "var",
)
ROOT_LINKS: Mapping[str, str] = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "sbin": "usr/sbin",
    "usr/lib/optee_armtz": "/opt/undercroft/ta",
}
ROOT_FILES: Mapping[str, str] = {
    "etc/group": "root:x:0:\n",
    "etc/hostname": "undercroft\n",
    "etc/hosts": "127.0.0.1 localhost undercroft\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/resolv.conf": "",
}
_COMMANDS = (
    "awk base64 basename cat chmod chown cp cut date dd df dirname dmesg du echo "
    "env expr false find free grep gunzip gzip head hexdump hostname id ifconfig "
    "insmod ip kill killall less ln ls lsmod md5sum mkdir mknod mktemp mount mv "
    "nc netstat nohup nproc od pidof ping pkill poweroff printf ps pwd readlink "
    "realpath reboot reset rm rmdir rmmod route sed seq setsid sh sha256sum sleep "
    "sort stat strings stty sync tail tar tee test time timeout top touch tr true "
    "truncate tty umount uname uniq uptime usleep vi wc wget which xargs xxd yes "
    "zcat"
)
BUSYBOX_COMMANDS: Sequence[str] = tuple(_COMMANDS.split())
PYTHON_TREES: Sequence[str] = ("usr/lib/python3.13", "usr/lib/python3/dist-packages")

# The compiler of byte code: the same Python version as the board's, for the
# host's own architecture, because emulating it takes 50 times as long.
BYTECODE_PACKAGES: Sequence[str] = ("libpython3.13-stdlib", "python3.13-minimal")
BYTECODE_PYTHON = "usr/bin/python3.13"

# Machine --------------------------------------------------------------------
CPU = "cortex-a76"
RAM_BYTES = 1024 * 1024 * 1024
CORES = 2
STATE_BYTES = 256 * 1024 * 1024
# A large board, for networks of hundreds of megabytes. Unused parts of its memory
# and disk cost the host nothing.
LARGE_RAM_BYTES = 4096 * 1024 * 1024
LARGE_STATE_BYTES = 2048 * 1024 * 1024
AGENT_PORT = 8080
GUEST_ADDRESS = "10.0.2.15"
