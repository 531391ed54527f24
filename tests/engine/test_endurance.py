# SPDX-License-Identifier: Apache-2.0
"""Inferences in a row need no more memory than the first ones.

200 in `make test`, 10,000 in `make test-endurance`, which records what it saw in
benchmarks/results/endurance.json.
"""

from __future__ import annotations

import datetime
import gc
import json
from pathlib import Path

import numpy as np
import pytest

import undercroft as uc
from helpers import onnx_nets
from undercroft._build import ROOT
from undercroft._device.client import ModelClient
from undercroft._device.host import HostDevice
from undercroft.keys import DevicePublicKey, ProviderKey

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::undercroft._device.host.NoProtectionWarning"),
]

RESULT = ROOT / "benchmarks" / "results" / "endurance.json"
WARM_UP = 50
# What Python's own allocator may move in, which it does in a few steps and not
# with every inference; 64 bytes leaked by each of 10,000 would be 640 KiB.
SLACK_BYTES = 512 * 1024


def resident_bytes() -> int:
    """Memory of this process that is in RAM and its own."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Private_Dirty")


@pytest.mark.parametrize(
    "times",
    [200, pytest.param(10_000, marks=[pytest.mark.exhaustive, pytest.mark.timeout(0)])],
)
def test_inferences_do_not_pile_up(times: int, tmp_path: Path) -> None:
    device = HostDevice("host:?arena=2MiB", private_key=bytes(range(1, 33)))
    key = ProviderKey.generate()
    net = onnx_nets.Net("endurance")
    x = net.relu(net.gemm(net.input(1, 64), 64, 64))
    case = net.case(net.gemm(x, 64, 10))
    plan = uc.plan(case.model, budget=29000, page_bytes=4096)
    assert plan.streamed_pages > 0
    sealed = uc.seal(case.model, tmp_path / "net.sealed", plan=plan, signing_key=key)
    permit = uc.issue_license(
        model_key=sealed.model_key,
        device=DevicePublicKey.from_cose_key(device.device_key()),
        signing_key=key,
    )
    feed = onnx_nets.random_inputs(case)["x"]
    free = device.info().free_bytes
    client = ModelClient(device.open(), tmp_path / "net.sealed", permit)
    while_open = device.info().free_bytes
    for _ in range(WARM_UP):
        (first,), stats = client.infer([feed])
    gc.collect()
    objects = len(gc.get_objects())
    before, peak = resident_bytes(), stats.secure_peak_bytes
    for _ in range(times):
        (output,), stats = client.infer([feed])
        assert np.array_equal(output, first)
    grown = resident_bytes() - before
    gc.collect()
    assert len(gc.get_objects()) <= objects + 50
    assert stats.secure_peak_bytes == peak
    assert device.info().free_bytes == while_open < free
    client.close()
    assert device.info().free_bytes == free
    device.close()
    assert grown <= SLACK_BYTES
    if times >= 10_000:
        record = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "device": "host",
            "inferences": times,
            "normal_memory_grown_bytes": grown,
            "normal_memory_allowed_bytes": SLACK_BYTES,
            "secure_peak_bytes": peak,
            "secure_free_bytes_before_and_after": free,
        }
        RESULT.write_text(json.dumps(record, indent=1) + "\n")
