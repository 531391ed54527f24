# SPDX-License-Identifier: Apache-2.0
"""The search of the leak proof finds what it should, wherever it lies."""

from __future__ import annotations

import numpy as np
import pytest

from undercroft import _leaks
from undercroft._leaks import SecretSearch, sample_windows


def secret_bytes(count: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(count)


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4097, 99_983])
def test_finds_a_window_at_any_offset(offset):
    secret = secret_bytes(4096)
    search = SecretSearch()
    search.add("weights", sample_windows(secret, 256))
    image = bytearray(200_000)
    image[offset : offset + 4096] = secret
    result = search.scan_bytes(bytes(image))
    assert result.found == {"weights": 16}
    assert not result.clean


def test_finds_windows_across_chunk_borders(monkeypatch):
    monkeypatch.setattr(_leaks, "_CHUNK_BYTES", 4096)
    secret = secret_bytes(16)
    search = SecretSearch()
    search.add("key", [secret])
    for offset in range(4080, 4100):
        image = bytearray(12_000)
        image[offset : offset + 16] = secret
        result = search.scan_bytes(bytes(image))
        assert result.first_offsets == {"key": offset}


def test_other_bytes_are_clean(tmp_path):
    search = SecretSearch()
    search.add("weights", sample_windows(secret_bytes(65536), 512))
    path = tmp_path / "image"
    path.write_bytes(secret_bytes(1 << 20, seed=2))
    result = search.scan_file(path)
    assert result.clean
    assert result.needles == {"weights": 128}
    assert result.scanned_bytes == 1 << 20


def test_an_empty_search_is_not_clean():
    assert not SecretSearch().scan_bytes(bytes(100)).clean


def test_windows_that_occur_by_chance_are_not_taken():
    assert list(sample_windows(bytes(4096), 256)) == []
    ones = np.ones(1024, np.float32).tobytes()
    assert list(sample_windows(ones, 256)) == []
