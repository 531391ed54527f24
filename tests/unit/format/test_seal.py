# SPDX-License-Identifier: Apache-2.0
"""Sealing: files, keys and what happens when it cannot be done."""

from __future__ import annotations

import stat
import tracemalloc
from pathlib import Path

import pytest

from helpers.provider import FakePlan, test_key
from helpers.suites import SUITES
from undercroft._spec import MAX_HEADER_BYTES
from undercroft.errors import (
    FileAccessError,
    FileWriteError,
    FormatError,
    PlanError,
)
from undercroft.keys import ModelKey, ProviderKey
from undercroft.seal import seal
from undercroft.sealed import SealedModel
from undercroft.tensor import TensorInfo

KEY = ProviderKey.from_seed(test_key("provider"))


def seal_fake(output: Path, plan: FakePlan | None = None, **options: object):
    return seal(
        "unused.onnx",
        output,
        plan=plan or FakePlan(),
        signing_key=KEY,
        **options,  # type: ignore[arg-type]
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_sealing_writes_the_file_and_its_key(tmp_path):
    result = seal_fake(tmp_path / "model.sealed", model_version=3)
    assert names(tmp_path) == ["model.sealed", "model.sealed.key"]
    assert result.path == tmp_path / "model.sealed"
    assert result.key_file == tmp_path / "model.sealed.key"
    assert result.file_bytes == result.path.stat().st_size
    assert stat.S_IMODE(result.key_file.stat().st_mode) == 0o600
    assert ModelKey.load(result.key_file) == result.model_key
    with SealedModel.open(result.path, provider=KEY.public()) as sealed:
        assert sealed.header == result.header
        assert sealed.header.model_version == 3
        assert sealed.header.model_id == result.model_key.model_id


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_is_the_plans_or_the_callers(tmp_path, suite):
    number = SUITES[suite].number
    planned = seal_fake(tmp_path / "planned.sealed", FakePlan(suite=suite))
    given = seal_fake(tmp_path / "given.sealed", suite=suite)
    for result in (planned, given):
        assert result.header.suite == number
        with SealedModel.open(result.path) as sealed:
            assert sealed.inspect()["suite"].lower() == suite


def test_a_suite_that_is_none_leaves_nothing(tmp_path):
    with pytest.raises(PlanError):
        seal_fake(tmp_path / "model.sealed", suite="rot13")
    assert names(tmp_path) == []


def test_a_new_version_keeps_the_key_and_takes_a_new_salt(tmp_path):
    first = seal_fake(tmp_path / "model.sealed")
    second = seal_fake(tmp_path / "model.sealed", model_version=2)
    third = seal_fake(tmp_path / "other.sealed", key_file=first.key_file)
    assert first.model_key == second.model_key == third.model_key
    salts = {result.header.salt for result in (first, second, third)}
    assert len(salts) == 3
    assert names(tmp_path) == ["model.sealed", "model.sealed.key", "other.sealed"]


def test_without_a_key_file_every_model_has_its_own_key(tmp_path):
    first = seal_fake(tmp_path / "a.sealed")
    second = seal_fake(tmp_path / "b.sealed")
    assert first.model_key.model_id != second.model_key.model_id
    assert first.model_key.content_key != second.model_key.content_key


def test_the_caller_may_keep_the_key(tmp_path):
    key = ModelKey.generate()
    result = seal_fake(
        tmp_path / "model.sealed", content_key=key.content_key, model_id=key.model_id
    )
    assert result.model_key == key
    assert result.key_file is None
    assert names(tmp_path) == ["model.sealed"]


def test_a_given_key_and_a_stored_one_must_be_the_same(tmp_path):
    first = seal_fake(tmp_path / "model.sealed")
    seal_fake(tmp_path / "model.sealed", model_id=first.model_key.model_id)
    for options in (
        {"model_id": bytes(16)},
        {"content_key": bytes(32), "key_file": first.key_file},
    ):
        with pytest.raises(FileAccessError, match="holds another"):
            seal_fake(tmp_path / "model.sealed", **options)
    assert ModelKey.load(first.key_file) == first.model_key


def test_a_key_file_open_to_others_is_refused_before_anything_is_written(tmp_path):
    key_file = tmp_path / "model.key"
    ModelKey.generate().save(key_file)
    key_file.chmod(0o644)
    with pytest.raises(FileAccessError, match="secret"):
        seal_fake(tmp_path / "model.sealed", key_file=key_file)
    assert names(tmp_path) == ["model.key"]


def test_progress_counts_every_page(tmp_path):
    seen: list[tuple[int, int]] = []
    seal_fake(tmp_path / "model.sealed", progress=lambda *numbers: seen.append(numbers))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_a_failure_in_the_middle_leaves_nothing(tmp_path, failure):
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise failure

    with pytest.raises(failure):
        seal_fake(tmp_path / "model.sealed", progress=stop)
    assert names(tmp_path) == []


def test_a_failure_keeps_the_sealed_file_of_before(tmp_path):
    path = tmp_path / "model.sealed"
    seal_fake(path)
    before = path.read_bytes()
    with pytest.raises(PlanError):
        seal_fake(path, FakePlan(streamed_pages=9))
    assert path.read_bytes() == before
    assert names(tmp_path) == ["model.sealed", "model.sealed.key"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"program_pages": 2}, "promised 2 program pages and gave 1"),
        ({"resident_pages": 0}, "promised 0 resident pages and gave more"),
        ({"resident_pages": 3}, "promised 3 resident pages and gave 1"),
        ({"streamed_pages": 1}, "promised 1 streamed pages and gave more"),
    ],
)
def test_a_plan_that_breaks_its_promise_is_refused(tmp_path, changes, what):
    with pytest.raises(PlanError, match=what):
        seal_fake(tmp_path / "model.sealed", FakePlan(**changes))
    assert names(tmp_path) == []


def test_a_model_without_weights_has_only_a_program(tmp_path):
    plan = FakePlan(
        resident_pages=0, streamed_pages=0, chunks={"resident": [], "stream": []}
    )
    result = seal_fake(tmp_path / "model.sealed", plan)
    assert result.header.page_count == 1


def test_names_that_do_not_fit_the_header_are_refused(tmp_path):
    tensors = tuple(TensorInfo(f"{i:x}" * 256, (2**20,) * 8) for i in range(16))
    with pytest.raises(FormatError):
        seal_fake(tmp_path / "model.sealed", FakePlan(inputs=tensors))
    assert names(tmp_path) == []
    # Even the longest names that are allowed fit.
    tensors = tuple(TensorInfo(f"{i:x}" * 256, (1,) * 8) for i in range(16))
    plan = FakePlan(inputs=tensors, outputs=tensors)
    with SealedModel.open(seal_fake(tmp_path / "model.sealed", plan).path) as sealed:
        assert len(sealed.header_bytes) < MAX_HEADER_BYTES


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(FileWriteError):
        seal_fake(tmp_path / "missing" / "model.sealed")


def test_memory_does_not_grow_with_the_model(tmp_path):
    chunk = bytes(100_000)
    pages = -(-400 * len(chunk) // 65536)
    plan = FakePlan(page_bytes=65536, streamed_pages=pages)
    plan.stream = lambda: (chunk for _ in range(400))  # type: ignore[method-assign]
    tracemalloc.start()
    try:
        result = seal_fake(tmp_path / "model.sealed", plan)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.file_bytes > 40_000_000
    assert peak < 4_000_000
