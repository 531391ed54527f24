# SPDX-License-Identifier: Apache-2.0
"""The Trusted Application for cores without Arm's cryptography extension."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from undercroft import _build

pytestmark = pytest.mark.engine

# SHA-512 instructions are there, in OpenSSL's code, behind OPENSSL_armcap_P.
EXTENSION = re.compile(r"\t(aes[ed]|aesi?mc|pmull2?|sha(1|256)\w*)\t")


def test_a_build_without_the_extension_has_none_of_its_instructions() -> None:
    out = _build.BUILD / "ta-plain-core"
    settings = [f"{name}={value}" for name, value in _build.ta_variables().items()]
    done = subprocess.run(
        [*("make", "-C", "ta", f"OUT={out}", "UC_ARMV8_CRYPTO=0"), *settings],
        cwd=_build.ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (elf,) = (out / "obj").glob("*.stripped.elf")
    listing = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", elf],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # ChaCha20's NEON code is there, so the listing is one of code.
    assert "ushr\tv" in listing
    assert EXTENSION.search(listing) is None
