# SPDX-License-Identifier: Apache-2.0
"""Whose models a Trusted Application opens: the header's writer and its C reader."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from undercroft.keys import ProviderKey

ROOT = Path(__file__).resolve().parents[2]
TEST_KEYS = ROOT / "tests" / "keys"
TOOL = ROOT / "ta" / "tools" / "policy.py"


@pytest.fixture(scope="module")
def policy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ta_policy", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_provider_seed() -> bytes:
    return bytes.fromhex((TEST_KEYS / "provider.hex").read_text())


test_provider_seed.__test__ = False  # type: ignore[attr-defined]


def public_pem(key: ProviderKey, path: Path) -> Path:
    path.write_bytes(key.public().to_pem())
    return path


def run_tool(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_key_ids_are_those_of_the_rest_of_the_project(policy: ModuleType) -> None:
    key = ProviderKey.generate()
    assert policy.key_id(key.public().raw) == key.key_id


def test_keys_are_read_from_public_and_private_pem(
    policy: ModuleType, tmp_path: Path
) -> None:
    key = ProviderKey.generate()
    assert policy.read_public_key(public_pem(key, tmp_path / "a.pem")) == (
        key.public().raw
    )
    private = Ed25519PrivateKey.generate()
    path = tmp_path / "b.pem"
    path.write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    assert policy.read_public_key(path) == private.public_key().public_bytes_raw()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a key",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        generate_private_key(SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=["empty", "text", "damaged", "p256"],
)
def test_other_files_are_refused(
    policy: ModuleType, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(policy.PolicyError, match=r"key\.pem"):
        policy.read_public_key(path)
    with pytest.raises(policy.PolicyError, match=r"absent\.pem"):
        policy.read_public_key(tmp_path / "absent.pem")


def test_a_release_build_needs_a_provider(tmp_path: Path) -> None:
    out = tmp_path / "uc_policy.h"
    done = run_tool("--output", out, "--release", "--test-keys", TEST_KEYS)
    assert done.returncode == 1
    assert "UC_PROVIDER_KEYS" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("name", ["provider", "other_provider", "device"])
def test_a_release_build_refuses_test_keys(tmp_path: Path, name: str) -> None:
    seed = bytes.fromhex((TEST_KEYS / f"{name}.hex").read_text())
    key = public_pem(ProviderKey.from_seed(seed), tmp_path / "key.pem")
    good = public_pem(ProviderKey.generate(), tmp_path / "good.pem")
    out = tmp_path / "uc_policy.h"
    done = run_tool("--output", out, "--release", "--test-keys", TEST_KEYS, good, key)
    assert done.returncode == 1
    assert "test key" in done.stderr
    assert not out.exists()


def test_a_release_build_needs_to_know_the_test_keys(tmp_path: Path) -> None:
    good = public_pem(ProviderKey.generate(), tmp_path / "good.pem")
    out = tmp_path / "uc_policy.h"
    done = run_tool("--output", out, "--release", "--test-keys", tmp_path, good)
    assert done.returncode == 1
    assert "no test keys" in done.stderr


def test_a_development_build_takes_no_list(tmp_path: Path) -> None:
    good = public_pem(ProviderKey.generate(), tmp_path / "good.pem")
    done = run_tool("--output", tmp_path / "uc_policy.h", good)
    assert done.returncode == 1
    assert "UC_BUILD=release" in done.stderr


def load_policy(folder: Path, text: str, *flags: str) -> ctypes.CDLL:
    """Compile ta/src/policy.c with this header for the host."""
    gcc = shutil.which("gcc")
    assert gcc, "gcc is missing: sudo apt-get install gcc"
    (folder / "uc_policy.h").write_text(text)
    library = folder / "policy.so"
    include = ["-I", str(folder), "-I", str(ROOT / "engine" / "include")]
    source = str(ROOT / "ta" / "src" / "policy.c")
    words = [gcc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    done = subprocess.run(
        [*words, *flags, *include, source, "-o", str(library)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = ctypes.CDLL(str(library))
    loaded.uc_port_provider_trusted.restype = ctypes.c_bool
    loaded.uc_port_build.restype = ctypes.c_uint32
    return loaded


def trusts(library: ctypes.CDLL, key_id: bytes, public: bytes) -> bool:
    answer: bool = library.uc_port_provider_trusted(key_id, public)
    return answer


def test_release_code_trusts_its_list_and_nothing_else(
    policy: ModuleType, tmp_path: Path
) -> None:
    first, second, stranger = (ProviderKey.generate() for _ in range(3))
    keys = [
        public_pem(first, tmp_path / "a.pem"),
        public_pem(second, tmp_path / "b.pem"),
    ]
    text = policy.release_policy(keys, TEST_KEYS)
    library = load_policy(tmp_path, text, "-DUC_RELEASE")
    assert library.uc_port_build() == 1
    for key in (first, second):
        assert trusts(library, key.key_id, key.public().raw)
    assert not trusts(library, stranger.key_id, stranger.public().raw)
    # An id and a key that do not belong together are nobody's.
    assert not trusts(library, first.key_id, second.public().raw)
    assert not trusts(library, first.key_id, stranger.public().raw)
    test_provider = ProviderKey.from_seed(test_provider_seed())
    assert not trusts(library, test_provider.key_id, test_provider.public().raw)


def test_release_code_refuses_a_test_key_that_slipped_into_the_list(
    policy: ModuleType, tmp_path: Path
) -> None:
    slipped = ProviderKey.from_seed(test_provider_seed())
    text = policy.policy_header(
        [slipped.public().raw], policy.read_test_key_ids(TEST_KEYS)
    )
    library = load_policy(tmp_path, text, "-DUC_RELEASE")
    assert not trusts(library, slipped.key_id, slipped.public().raw)


def test_development_code_trusts_everybody(policy: ModuleType, tmp_path: Path) -> None:
    library = load_policy(tmp_path, policy.policy_header([], []))
    assert library.uc_port_build() == 0
    assert trusts(library, bytes(32), bytes(32))


def test_release_code_without_a_list_does_not_compile(
    policy: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="names its providers"):
        load_policy(tmp_path, policy.policy_header([], []), "-DUC_RELEASE")
