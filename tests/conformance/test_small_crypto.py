# SPDX-License-Identifier: Apache-2.0
"""The engine's small cryptography against published vectors."""

from __future__ import annotations

import subprocess

import pytest

from helpers.model_open import program

pytestmark = pytest.mark.engine

NAMES = ("small_crypto_main", "fake_device", "no_device")


def test_published_vectors_and_limits_hold_under_sanitizers():
    path = program(
        "small_crypto",
        *(f"tests/conformance/{name}.c" for name in NAMES),
    )
    done = subprocess.run([path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
