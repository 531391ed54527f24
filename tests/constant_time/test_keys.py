# SPDX-License-Identifier: Apache-2.0
"""No branch and no address depends on a secret, in all that handles keys.

valgrind's memcheck follows uninitialised memory through every instruction. Here
the device's private key is marked as such, and with it everything that is computed
from it: what HPKE opens, content key, page key, key schedules, tags. Whatever becomes
public is declared where it does (`engine/include/uc_secret.h`). The idea is
ctgrind's and TIMECOP's.
"""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import undercroft as uc
from helpers import onnx_nets
from helpers.provider import Device, test_key
from helpers.suites import SUITES
from undercroft._build import build
from undercroft._device.parcel import Parcel
from undercroft._format.private_io import sealed_bytes
from undercroft._spec import PAGE_TAG_BYTES, QUESTION_BYTES
from undercroft.keys import ModelKey, ProviderKey
from undercroft.license import issue
from undercroft.private import Asker
from undercroft.seal import seal

pytestmark = pytest.mark.engine

SUPPRESSIONS = Path(__file__).with_name("public.supp")
PAGE_BYTES = 4096
EXIT_CODE = 99


def shipment(suite: str, folder: Path) -> Path:
    """Write what secrets_main.c reads: a small network sealed with this suite."""
    net = onnx_nets.Net("watched")
    x = net.relu(net.gemm(net.input(1, 64), 64, 64))
    case = net.case(net.gemm(x, 64, 10))
    plan = uc.plan(case.model, budget=29000, page_bytes=PAGE_BYTES)
    assert plan.program_pages == 1
    assert plan.streamed_pages >= 2
    provider = ProviderKey.from_seed(test_key("provider"))
    device = Device(test_key("device"))
    model_key = ModelKey(bytes(range(16)), test_key("content"))
    sealed = folder / "watched.sealed"
    seal(
        sealed,
        sealed,
        plan=plan,
        signing_key=provider,
        suite=suite,
        model_id=model_key.model_id,
        content_key=model_key.content_key,
    )
    license_ = issue(model_key=model_key, device=device.public, signing_key=provider)
    header = Parcel.read(sealed).header_bytes
    slots = sealed.read_bytes()[16 + len(header) :]
    values = np.linspace(-1, 1, 64, dtype="<f4").tobytes()
    slot_bytes = PAGE_BYTES + PAGE_TAG_BYTES
    question = Asker.of_model(sealed, device=device.public).ask(
        {"x": np.frombuffer(values, "<f4").reshape(1, 64)}
    )
    numbers = (
        *(len(header), len(license_), len(slots) // slot_bytes, slot_bytes),
        *(plan.program_pages + plan.resident_pages, len(values), 10 * 4),
        len(question.data) - QUESTION_BYTES,
        sum(map(sealed_bytes, question.outputs)),
    )
    path = folder / "shipment"
    head = device.private + struct.pack("<9I", *numbers)
    path.write_bytes(head + header + license_ + slots + values + question.data)
    return path


def watch(shipped: Path, *leak: str) -> subprocess.CompletedProcess[str]:
    command = ["valgrind", "--quiet", f"--error-exitcode={EXIT_CODE}"]
    # Where a secret comes from costs a third of the time, and is known.
    command += ["--track-origins=no", f"--suppressions={SUPPRESSIONS}"]
    command += ["--leak-check=no", str(build("secrets") / "secrets"), str(shipped)]
    return subprocess.run(
        [*command, *leak], capture_output=True, text=True, check=False, timeout=240
    )


@pytest.mark.parametrize("suite", SUITES)
def test_nothing_depends_on_a_key(suite: str, tmp_path: Path) -> None:
    done = watch(shipment(suite, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    # A test of nothing would pass as well: the keys were there and were followed.
    found = re.search(r"secret bytes in the arena: (\d+)", done.stdout)
    assert found
    assert int(found[1]) >= SUITES[suite].key_bytes
    assert done.stdout.count("refusing a changed page") == 3
    assert done.stdout.count("refusing a changed question") == 2
    assert "its keys are watched: as it should" in done.stdout


@pytest.mark.parametrize(
    ("leak", "said"),
    [
        ("branch", "Conditional jump or move depends on uninitialised value"),
        ("index", "Use of uninitialised value"),
    ],
)
def test_a_leak_is_seen(leak: str, said: str, tmp_path: Path) -> None:
    done = watch(shipment("aes-256-gcm", tmp_path), leak)
    assert done.returncode == EXIT_CODE, done.stdout + done.stderr
    assert said in done.stderr
    assert "__wrap_uc_port_aead_init" in done.stderr
