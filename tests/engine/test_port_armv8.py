# SPDX-License-Identifier: Apache-2.0
"""The port's arm64 parts under user-mode emulation: AES-256-GCM and memory.

The same files, with the same objects of OpenSSL's, go into the Trusted
Application; `tests/device/test_ta_port.py` runs them there.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from undercroft._debian import packages_dir
from undercroft._spec import SUITE_AES_256_GCM

ROOT = Path(__file__).resolve().parents[2]
COMPILER = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64"
CPU = "cortex-a76"
OBJECTS = ("aes-gcm-armv8_64", "aesv8-armx", "ghashv8-armx")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wswitch-enum")

HEAD_BYTES = 72
KEY, NONCE, TAG = 8, 40, 52
OPEN, SEAL = 0, 1
MAX_INSTRUCTIONS_PER_BYTE = 3.6
MIN_INSTRUCTIONS_PER_BYTE = 2.5


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: sudo apt-get install {package}"
    return found


def run(command: list[object], **options: object) -> subprocess.CompletedProcess[bytes]:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, check=False, **options)
    assert done.returncode == 0, (words, done.stdout[-500:], done.stderr[-2000:])
    return done


def compile_static(target: Path, flags: list[object], sources: list[object]) -> Path:
    gcc = tool(COMPILER, "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")
    include = ROOT / "engine" / "include"
    base = [gcc, "-std=c11", *WARNINGS, "-static", "-I", include]
    run([*base, *flags, *sources, "-o", target])
    return target


@pytest.fixture(scope="module")
def aes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aes")
    libraries = packages_dir("arm64", ["libssl-dev"]) / "usr/lib/aarch64-linux-gnu"
    names = [f"libcrypto-lib-{name}.o" for name in OBJECTS]
    archiver = tool("aarch64-linux-gnu-ar", "binutils-aarch64-linux-gnu")
    run([archiver, "x", libraries / "libcrypto.a", *names], cwd=folder)
    sources = ["tests/engine/aead_armv8_main.c", "engine/port/aes_gcm_armv8.c"]
    return compile_static(
        folder / "aes",
        ["-O2"],
        [*(ROOT / name for name in sources), *(folder / name for name in names)],
    )


def message(
    mode: int, key: bytes, nonce: bytes, tag: bytes, data: bytes, *, suite: int
) -> bytes:
    head = struct.pack("<II", suite, mode) + key + nonce + tag
    return head + struct.pack("<I", len(data)) + data


def run_cipher(program: Path, packed: bytes) -> tuple[bool, bytes, bytes]:
    """Return the answer, the tag and the buffer."""
    emulator = tool(EMULATOR, "qemu-user")
    done = run([emulator, "-cpu", CPU, program], input=packed)
    assert done.stdout[0] in (0, 1)
    return done.stdout[0] == 1, done.stdout[1:17], done.stdout[17:]


def open_page(program: Path, packed: bytes) -> tuple[bool, bytes]:
    good, _, data = run_cipher(program, packed)
    return good, data


BLOCKS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64, 65, 4096]


@pytest.mark.parametrize("blocks", BLOCKS)
def test_what_openssl_sealed_opens_and_a_changed_bit_does_not(
    aes: Path, blocks: int
) -> None:
    rng = random.Random(blocks)
    key, nonce, text = (rng.randbytes(size) for size in (32, 12, 16 * blocks))
    sealed = AESGCM(key).encrypt(nonce, text, None)
    packed = message(
        OPEN, key, nonce, sealed[-16:], sealed[:-16], suite=SUITE_AES_256_GCM
    )
    assert open_page(aes, packed) == (True, text)
    places = [KEY, KEY + 31, NONCE, NONCE + 11, TAG, TAG + 15]
    if blocks:
        places += [HEAD_BYTES, len(packed) - 1]
    for place in places:
        changed = bytearray(packed)
        changed[place] ^= 1 << rng.randrange(8)
        assert open_page(aes, bytes(changed)) == (False, bytes(len(text))), place


@pytest.mark.parametrize("blocks", BLOCKS)
def test_what_is_sealed_is_what_openssl_seals(aes: Path, blocks: int) -> None:
    rng = random.Random(blocks)
    key, nonce, text = (rng.randbytes(size) for size in (32, 12, 16 * blocks))
    packed = message(SEAL, key, nonce, bytes(16), text, suite=SUITE_AES_256_GCM)
    good, tag, data = run_cipher(aes, packed)
    assert good
    assert data + tag == AESGCM(key).encrypt(nonce, text, None)


@pytest.mark.parametrize("mode", [OPEN, SEAL])
@pytest.mark.parametrize("size", [1, 15, 17, 4095])
def test_a_part_of_a_block_is_refused(aes: Path, size: int, mode: int) -> None:
    key, nonce, text = bytes(32), bytes(12), b"t" * size
    sealed = AESGCM(key).encrypt(nonce, text, None)
    packed = message(
        mode, key, nonce, sealed[-16:], sealed[:-16], suite=SUITE_AES_256_GCM
    )
    good, tag, data = run_cipher(aes, packed)
    assert (good, data) == (False, bytes(size))
    assert mode == OPEN or tag == bytes(16)


@pytest.mark.parametrize("mode", [OPEN, SEAL])
def test_a_page_takes_about_three_instructions_a_byte(
    aes: Path, tmp_path: Path, mode: int
) -> None:
    size = 16384
    sealed = AESGCM(bytes(32)).encrypt(bytes(12), bytes(size), None)
    key, nonce = bytes(32), bytes(12)
    packed = message(
        mode, key, nonce, sealed[-16:], sealed[:-16], suite=SUITE_AES_256_GCM
    )
    counts = [instructions(aes, packed, rounds, tmp_path) for rounds in (1, 3)]
    # Copying the page before each opening is part of the difference.
    per_byte = (counts[1] - counts[0]) / (2 * size)
    assert MIN_INSTRUCTIONS_PER_BYTE < per_byte < MAX_INSTRUCTIONS_PER_BYTE


def instructions(program: Path, packed: bytes, rounds: int, folder: Path) -> int:
    """Count the instructions of a run: one line of the log for each."""
    emulator = tool(EMULATOR, "qemu-user")
    helped = run([emulator, "--help"]).stdout.decode()
    one_by_one = "-one-insn-per-tb" if "-one-insn-per-tb" in helped else "-singlestep"
    log = folder / "log"
    command = [emulator, "-cpu", CPU, one_by_one, "-d", "nochain,exec", "-D", log]
    run([*command, program, str(rounds)], input=packed)
    with log.open("rb") as lines:
        return sum(line.startswith(b"Trace") for line in lines)


def test_memory_functions_are_those_of_the_c_library(tmp_path: Path) -> None:
    names = ("memcpy", "memmove", "memset")
    compiled = tmp_path / "memory.o"
    gcc = tool(COMPILER, "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")
    flags = ["-std=c11", *WARNINGS, "-O3", "-mno-strict-align", "-ffreestanding"]
    flags += ["-fno-tree-loop-distribute-patterns"]
    flags += [f"-D{name}=uc_test_{name}" for name in names]
    source = ROOT / "engine" / "port" / "memory_armv8.c"
    run([gcc, *flags, "-c", source, "-o", compiled])
    main = ROOT / "tests" / "engine" / "memory_armv8_main.c"
    program = compile_static(tmp_path / "memory", ["-O1"], [main, compiled])
    done = run([tool(EMULATOR, "qemu-user"), "-cpu", CPU, program])
    assert int(done.stdout) == 300 * (6 + 30 + 1)
