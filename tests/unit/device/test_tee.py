# SPDX-License-Identifier: Apache-2.0
"""The `tee:` device over a `libteec` that is a Python object."""

from __future__ import annotations

import pytest

from helpers.teec import FakeTeec, read, types_of, write
from undercroft._device import teec
from undercroft._device.invoker import PARAMETERS, Param
from undercroft._device.tee import BUFFER_BYTES, STAGING_BYTES, TA_UUID, TeeDevice
from undercroft._device.teec import Origin, ParamType, Result, TeecOperation
from undercroft._spec import INFO_RECORD_BYTES, MAX_PAGE_BYTES, PAGE_TAG_BYTES, Command
from undercroft.errors import (
    DeviceError,
    DeviceLostError,
    EnvironmentMissingError,
    SecureMemoryError,
)


def test_the_uuid_is_that_of_the_specification(library: FakeTeec) -> None:
    TeeDevice().open().close()
    # The first three fields are numbers of this machine, the rest bytes.
    assert library.uuid == TA_UUID.bytes_le
    assert str(TA_UUID) == "8ad4c6e2-9f6b-4c0e-b1a7-5d3b0f7c2a91"


def test_types_are_those_of_each_command(library: FakeTeec) -> None:
    seen: dict[int, list[ParamType]] = {}

    def handler(command: int, operation: TeecOperation) -> tuple[int, int]:
        seen[command] = types_of(operation)
        return 0, 0

    library.handler = handler
    with_output = {
        Command.INFO,
        Command.DEVICE_KEY,
        Command.OUTPUT,
        Command.STATS,
        Command.SPILL,
        Command.ATTEST,
        Command.ASK,
    }
    session = TeeDevice().open()
    for command in Command:
        session.invoke(
            command,
            data1=b"header",
            data2=b"license",
            output_bytes=64 if command in with_output else 0,
        )
    kinds = {
        Param.NONE: {ParamType.NONE},
        Param.VALUE_INOUT: {ParamType.VALUE_INOUT},
        Param.VALUE_OUTPUT: {ParamType.VALUE_OUTPUT},
        Param.MEMREF_INPUT: {ParamType.MEMREF_PARTIAL_INPUT},
        Param.MEMREF_OUTPUT: {ParamType.MEMREF_PARTIAL_OUTPUT},
    }
    for command, params in PARAMETERS.items():
        for given, expected in zip(seen[command], params, strict=True):
            assert given in kinds[expected]
    assert session.invocations == len(Command)


def test_answers_come_from_where_each_command_has_them(library: FakeTeec) -> None:
    def handler(_command: int, operation: TeecOperation) -> tuple[int, int]:
        assert (operation.params[0].value.a, operation.params[0].value.b) == (3, 2)
        operation.params[0].value.a, operation.params[0].value.b = 7, 8
        operation.params[2].value.a, operation.params[2].value.b = 5, 6
        operation.params[3].value.a = 4
        return 0, 0

    library.handler = handler
    session = TeeDevice().open()
    reply = session.invoke(Command.PUSH, values=(3, 2), buffer_bytes=10)
    assert (reply.status, reply.detail) == (7, 8)
    assert (reply.want_first, reply.want_count, reply.state) == (5, 6, 4)


def test_the_buffer_is_handed_in_without_a_copy(library: FakeTeec) -> None:
    seen = []

    def handler(_command: int, operation: TeecOperation) -> tuple[int, int]:
        assert operation.params[1].memref.offset == 0
        seen.append(read(operation, 1))
        return 0, 0

    library.handler = handler
    session = TeeDevice().open()
    assert len(session.buffer) == BUFFER_BYTES >= MAX_PAGE_BYTES + PAGE_TAG_BYTES
    session.buffer[:5] = b"pages"
    session.invoke(Command.PUSH, buffer_bytes=5)
    session.invoke(Command.PUSH, buffer_bytes=BUFFER_BYTES)
    assert seen[0] == b"pages"
    assert len(seen[1]) == BUFFER_BYTES
    with pytest.raises(DeviceError, match="of the buffer"):
        session.invoke(Command.PUSH, buffer_bytes=BUFFER_BYTES + 1)


@pytest.mark.parametrize("size", [0, 1, 64, 65, STAGING_BYTES, STAGING_BYTES + 1])
def test_data_of_any_size_arrives_whole_and_spares_the_buffer(
    library: FakeTeec, size: int
) -> None:
    first, second = b"\1" * size, b"\2" * 100
    seen = []

    def handler(_command: int, operation: TeecOperation) -> tuple[int, int]:
        seen.extend(read(operation, index) for index in (1, 2))
        return 0, 0

    library.handler = handler
    session = TeeDevice().open()
    session.buffer[:] = b"\7" * BUFFER_BYTES
    session.invoke(Command.OPEN, data1=first, data2=second)
    assert seen == [first, second]
    assert bytes(session.buffer) == b"\7" * BUFFER_BYTES


@pytest.mark.parametrize("room", [64, STAGING_BYTES, STAGING_BYTES + 4])
def test_outputs_are_what_was_written_and_never_more_than_the_room(
    library: FakeTeec, room: int
) -> None:
    def handler(_command: int, operation: TeecOperation) -> tuple[int, int]:
        write(operation, 1, b"\3" * (room - 4))
        return 0, 0

    library.handler = handler
    session = TeeDevice().open()
    reply = session.invoke(Command.OUTPUT, output_bytes=room)
    assert reply.output == b"\3" * (room - 4)

    def liar(_command: int, operation: TeecOperation) -> tuple[int, int]:
        if types_of(operation)[1] is ParamType.MEMREF_TEMP_OUTPUT:
            operation.params[1].tmpref.size = 2**40
        else:
            operation.params[1].memref.size = 2**40
        return 0, 0

    library.handler = liar
    reply = session.invoke(Command.OUTPUT, output_bytes=room)
    assert len(reply.output) == room


def test_closing_gives_everything_back_once(library: FakeTeec) -> None:
    device = TeeDevice()
    session = device.open()
    session.close()
    session.close()
    with pytest.raises(DeviceLostError, match="closed"):
        session.invoke(Command.INFO, output_bytes=INFO_RECORD_BYTES)
    assert library.calls == ["init", "register", "open", "close", "release"]
    device.close()
    device.close()
    assert library.calls[-1] == "finalize"
    assert library.calls.count("finalize") == 1
    with pytest.raises(DeviceLostError, match="closed"):
        device.open()


def test_a_device_disconnects_after_its_last_session(library: FakeTeec) -> None:
    device = TeeDevice()
    first, second = device.open(), device.open()
    device.close()
    first.close()
    assert "finalize" not in library.calls
    second.close()
    assert library.calls[-1] == "finalize"


def test_a_session_that_does_not_open_gives_its_memory_back(library: FakeTeec) -> None:
    library.session_result = (Result.OUT_OF_MEMORY, Origin.TEE)
    device = TeeDevice()
    with pytest.raises(SecureMemoryError):
        device.open()
    assert library.calls == ["init", "register", "open", "release"]
    device.close()
    assert library.calls[-1] == "finalize"


# ---- results in words ----


def test_only_one_tee_per_machine(library: FakeTeec) -> None:
    with pytest.raises(DeviceError, match="not a TEE device"):
        TeeDevice("tee:other")
    assert library.calls == []


def test_no_driver_says_what_to_load(
    library: FakeTeec, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.context_result = Result.ITEM_NOT_FOUND
    monkeypatch.setattr(teec, "TEE_DEVICE", "/nowhere/tee0")
    with pytest.raises(EnvironmentMissingError, match="/nowhere/tee0") as caught:
        TeeDevice()
    assert "modprobe optee" in caught.value.hint
    assert "board:" in caught.value.hint


def test_no_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teec, "LIBRARY_NAMES", ("libteec-that-is-not-there.so",))
    teec.load_library.cache_clear()
    try:
        with pytest.raises(EnvironmentMissingError, match="libteec") as caught:
            TeeDevice()
    finally:
        teec.load_library.cache_clear()
    assert "apt-get install libteec2" in caught.value.hint


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        (Result.ITEM_NOT_FOUND, EnvironmentMissingError, "not installed"),
        (Result.SECURITY, EnvironmentMissingError, "not signed"),
        (Result.COMMUNICATION, EnvironmentMissingError, "tee-supplicant"),
        (Result.OUT_OF_MEMORY, SecureMemoryError, "too little secure memory"),
        (Result.TARGET_DEAD, DeviceLostError, "died"),
        (Result.STORAGE_NO_SPACE, DeviceLostError, "no space left"),
        (Result.BAD_STATE, DeviceLostError, "does not allow this"),
        (Result.BUSY, DeviceLostError, "busy"),
        (0x12345678, DeviceLostError, "unknown answer"),
    ],
)
def test_opening_fails_in_words(
    library: FakeTeec, result: int, kind: type[Exception], words: str
) -> None:
    library.session_result = (result, Origin.TEE)
    with pytest.raises(kind, match=words) as caught:
        TeeDevice().open()
    assert getattr(caught.value, "hint", "")


@pytest.mark.parametrize(
    ("result", "origin", "kind", "words"),
    [
        (Result.TARGET_DEAD, Origin.TEE, DeviceLostError, "has died"),
        (Result.OUT_OF_MEMORY, Origin.TEE, SecureMemoryError, "too little memory"),
        (
            Result.BAD_PARAMETERS,
            Origin.TRUSTED_APPLICATION,
            DeviceLostError,
            "other parameter types",
        ),
        (Result.COMMUNICATION, Origin.COMMUNICATION, DeviceLostError, "no answer"),
    ],
)
def test_commands_fail_in_words(
    library: FakeTeec, result: int, origin: int, kind: type[Exception], words: str
) -> None:
    library.handler = lambda _command, _operation: (result, origin)
    session = TeeDevice().open()
    with pytest.raises(kind, match=words) as caught:
        session.invoke(Command.INFER)
    assert str(caught.value).startswith("INFER: ")
    assert getattr(caught.value, "hint", "")


def test_a_dead_trusted_application_ends_the_session(library: FakeTeec) -> None:
    library.handler = lambda _command, _operation: (Result.TARGET_DEAD, Origin.TEE)
    session = TeeDevice().open()
    with pytest.raises(DeviceLostError, match="died"):
        session.invoke(Command.INFER)
    assert library.calls[-2:] == ["close", "release"]
    with pytest.raises(DeviceLostError, match="closed"):
        session.invoke(Command.INFER)


def test_every_known_result_has_words() -> None:
    for result in Result:
        if result is not Result.SUCCESS:
            assert "unknown" not in teec.in_words(result)
    assert teec.in_words(Result.GENERIC, Origin.TEE).endswith(
        "says the TEE (0xffff0000)"
    )
