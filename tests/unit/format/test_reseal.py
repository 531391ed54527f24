# SPDX-License-Identifier: Apache-2.0
"""Sealing a sealed file again: the same pages under another key."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.provider import FakePlan, test_key
from helpers.suites import SUITES
from undercroft._format.pages import PageCipher, derive_page_key
from undercroft.errors import (
    FileAccessError,
    FileWriteError,
    FormatError,
    PlanError,
    VerificationError,
)
from undercroft.keys import ModelKey, ProviderKey
from undercroft.reseal import reseal
from undercroft.seal import SealResult, planned_pages, seal, write_sealed
from undercroft.sealed import SealedModel

KEY = ProviderKey.from_seed(test_key("provider"))
OTHER = ProviderKey.from_seed(test_key("other_provider"))


def sealed_in(folder: Path, **options: object) -> SealResult:
    return seal(
        "unused.onnx",
        folder / "old.sealed",
        plan=FakePlan(),
        signing_key=KEY,
        **options,  # type: ignore[arg-type]
    )


def again(before: SealResult, **options: object) -> SealResult:
    return reseal(
        before.path,
        before.path.with_name("new.sealed"),
        **{"model_key": before.model_key, "signing_key": KEY, **options},  # type: ignore[arg-type]
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def pages_of(path: Path, key: ModelKey) -> list[bytes]:
    with SealedModel.open(path) as sealed:
        page_key = derive_page_key(
            content_key=key.content_key,
            salt=sealed.header.salt,
            header=sealed.header_bytes,
        )
        cipher = PageCipher(sealed.header.suite, page_key)
        count = sealed.header.page_count
        return [cipher.decrypt(index, sealed.page(index)) for index in range(count)]


def test_the_pages_stay_and_all_that_hides_them_is_new(tmp_path):
    old = sealed_in(tmp_path, model_version=3)
    before = old.path.read_bytes()
    seen: list[tuple[int, int]] = []
    new = again(old, progress=lambda *numbers: seen.append(numbers))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert old.path.read_bytes() == before
    assert new.key_file == tmp_path / "new.sealed.key"
    assert ModelKey.load(new.key_file) == new.model_key
    assert new.file_bytes == new.path.stat().st_size == len(before)
    assert pages_of(new.path, new.model_key) == pages_of(old.path, old.model_key)
    assert new.model_key.model_id == old.model_key.model_id
    assert new.model_key.content_key != old.model_key.content_key
    assert new.header.salt != old.header.salt
    assert new.header.model_version == 4
    with pytest.raises(VerificationError):
        pages_of(new.path, old.model_key)


@pytest.mark.parametrize("suite", SUITES)
def test_version_suite_and_provider_may_be_others(tmp_path, suite):
    old = sealed_in(tmp_path)
    new = again(old, suite=suite, model_version=9, signing_key=OTHER)
    assert new.header.suite == SUITES[suite].number
    assert new.header.model_version == 9
    SealedModel.open(new.path, provider=OTHER.public()).close()
    assert pages_of(new.path, new.model_key) == pages_of(old.path, old.model_key)


def test_extensions_of_the_header_stay(tmp_path):
    old = sealed_in(tmp_path)
    extensions = ((-131073, b"batch 7"), (-140000, bytes(4)))
    header = replace(old.header, extensions=extensions)
    stream = io.BytesIO()
    write_sealed(
        stream,
        header,
        planned_pages(header, FakePlan()),
        model_key=old.model_key,
        signing_key=KEY,
    )
    old.path.write_bytes(stream.getvalue())
    with SealedModel.open(again(old).path) as sealed:
        assert sealed.header.extensions == extensions
        assert sealed.inspect()["extensions"]["-131073"] == b"batch 7".hex()


def test_a_key_of_another_model_is_told_apart_from_a_damaged_file(tmp_path):
    old = sealed_in(tmp_path)
    before = names(tmp_path)
    with pytest.raises(VerificationError, match="is of model"):
        again(old, model_key=ModelKey.generate())
    other = ModelKey.generate(model_id=old.model_key.model_id)
    with pytest.raises(VerificationError, match="page 0") as caught:
        again(old, model_key=other)
    assert "key file" in (caught.value.hint or "")
    content = bytearray(old.path.read_bytes())
    content[-20] ^= 1
    old.path.write_bytes(content)
    with pytest.raises(VerificationError, match="page 3") as caught:
        again(old)
    assert "damaged" in (caught.value.hint or "")
    content[40] ^= 1
    old.path.write_bytes(content)
    with pytest.raises((VerificationError, FormatError)):
        again(old)
    assert names(tmp_path) == before


def test_what_cannot_be_done_leaves_nothing(tmp_path):
    old = sealed_in(tmp_path, model_version=2**32 - 1)
    before = names(tmp_path)
    with pytest.raises(FormatError, match="model_version"):
        again(old)
    with pytest.raises(PlanError):
        again(old, model_version=1, suite="rot13")
    with pytest.raises(FileWriteError, match="exists already"):
        again(old, model_version=1, key_file=old.key_file)
    old.path.unlink()
    with pytest.raises(FileAccessError):
        again(old, model_version=1)
    assert names(tmp_path) == before - {"old.sealed"}


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_a_failure_in_the_middle_leaves_nothing(tmp_path, failure):
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise failure

    old = sealed_in(tmp_path)
    before = names(tmp_path)
    with pytest.raises(failure):
        again(old, progress=stop)
    assert names(tmp_path) == before


def test_memory_does_not_grow_with_the_model(tmp_path):
    chunk = bytes(65536)
    plan = FakePlan(page_bytes=65536, streamed_pages=300)
    plan.stream = lambda: (chunk for _ in range(300))  # type: ignore[method-assign]
    old = seal("unused", tmp_path / "old.sealed", plan=plan, signing_key=KEY)
    tracemalloc.start()
    try:
        new = again(old)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert new.file_bytes > 19_000_000
    assert peak < 3_000_000
