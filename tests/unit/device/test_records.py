# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct

import pytest

from undercroft._device.records import DeviceInfo, Stats, Ticks
from undercroft._spec import ABI_VERSION, INFO_RECORD_BYTES, STATS_RECORD_BYTES
from undercroft.errors import DeviceError

INFO = struct.pack(
    "<8I32s", ABI_VERSION, 1, 12 << 20, 4 << 20, 31, 2, 1, 0, b"1.0 release"
)
STATS = struct.pack("<16Q", *range(100, 116))


def test_sizes_are_the_interfaces() -> None:
    assert len(INFO) == INFO_RECORD_BYTES
    assert len(STATS) == STATS_RECORD_BYTES


def test_info() -> None:
    info = DeviceInfo.parse("op-tee", INFO)
    assert info == DeviceInfo(
        kind="op-tee",
        abi_version=ABI_VERSION,
        build="release",
        arena_bytes=12 << 20,
        free_bytes=4 << 20,
        push_pages=31,
        kernel_set=2,
        has_ticks=True,
        version="1.0 release",
    )
    assert DeviceInfo.from_dict({**info.as_dict(), "later": 1}) == info


def test_info_of_another_interface_version() -> None:
    other = struct.pack("<I", ABI_VERSION + 1) + INFO[4:]
    with pytest.raises(DeviceError, match=f"version {ABI_VERSION + 1}"):
        DeviceInfo.parse("op-tee", other)


@pytest.mark.parametrize("record", [b"", INFO[:-1], INFO + b"\0"])
def test_info_of_another_size(record: bytes) -> None:
    with pytest.raises(DeviceError, match="info record"):
        DeviceInfo.parse("op-tee", record)


def test_stats() -> None:
    stats = Stats.parse(STATS, world_switches=9, seconds=0.5, instructions=11)
    assert stats == Stats(
        budget_bytes=100,
        secure_peak_bytes=101,
        weights_bytes=102,
        decrypted_bytes=103,
        decrypted_pages=104,
        load_decrypted_bytes=105,
        moved_bytes=106,
        inferences=107,
        spilled_bytes=108,
        world_switches=9,
        seconds=0.5,
        instructions=11,
        ticks=Ticks(decrypt=109, move=110, compute=111, hz=112),
    )


@pytest.mark.parametrize("instructions", [None, 5])
@pytest.mark.parametrize("with_ticks", [True, False])
def test_stats_survive_as_parameters(
    instructions: int | None, with_ticks: bool
) -> None:
    record = STATS if with_ticks else STATS[:72] + bytes(56)
    stats = Stats.parse(
        record, world_switches=9, seconds=0.5, instructions=instructions
    )
    assert (stats.ticks is not None) == with_ticks
    parameters = stats.as_parameters()
    # The protocol has no null and nothing nested.
    assert all(type(value) in {int, float} for value in parameters.values())
    assert Stats.from_parameters({**parameters, "other": "x"}) == stats


@pytest.mark.parametrize(
    "broken", [{}, {"undercroft_seconds": "x"}, {"undercroft_seconds": None}]
)
def test_parameters_that_are_no_stats(broken: dict[str, object]) -> None:
    with pytest.raises(DeviceError, match="statistics"):
        Stats.from_parameters(broken)


def test_stats_of_another_size() -> None:
    with pytest.raises(DeviceError, match="127 bytes, not 128"):
        Stats.parse(STATS[:-1], world_switches=0, seconds=0)
