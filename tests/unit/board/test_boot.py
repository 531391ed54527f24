# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from undercroft._board.boot import BootWatch, Stage
from undercroft._board.failures import (
    AgentFailedError,
    KernelPanicError,
    SecureWorldMissingError,
)
from undercroft.errors import HarnessError

GOOD = (
    b"[    0.000000] Booting Linux on physical CPU 0x0000000000\r\n"
    b"undercroft-init: tee-ready\r\n"
    b"undercroft-init: agent-starting\r\n"
)


def test_stages_of_a_good_boot() -> None:
    watch = BootWatch()
    stages = [watch.feed(line + b"\n") for line in GOOD.split(b"\n")[:3]]
    assert stages == [Stage.LINUX, Stage.TEE, Stage.AGENT_STARTING]


def test_bytes_may_arrive_one_at_a_time() -> None:
    watch = BootWatch()
    for byte in GOOD:
        stage = watch.feed(bytes([byte]))
    assert stage is Stage.AGENT_STARTING


def test_board_without_an_agent_is_a_stage_of_its_own() -> None:
    watch = BootWatch()
    assert watch.feed(b"undercroft-init: agent-absent\n") is Stage.NO_AGENT


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        pytest.param(
            b"[ 1.2] Kernel panic - not syncing: VFS: Unable to mount\n",
            KernelPanicError,
            "VFS: Unable to mount",
            id="panic",
        ),
        pytest.param(
            b"undercroft-init: tee-missing\n",
            SecureWorldMissingError,
            "no OP-TEE",
            id="no tee",
        ),
        pytest.param(
            b"undercroft-init: agent-ended 137\n",
            AgentFailedError,
            "code 137",
            id="agent",
        ),
        pytest.param(
            b"undercroft-init: disk-failed state\n",
            HarnessError,
            "state disk",
            id="disk",
        ),
    ],
)
def test_each_failure_has_its_own_class(
    line: bytes, kind: type[HarnessError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        BootWatch().feed(line)
    assert type(caught.value) is kind
    assert caught.value.hint


def test_first_failure_wins() -> None:
    watch = BootWatch()
    with pytest.raises(SecureWorldMissingError):
        watch.feed(b"undercroft-init: tee-missing\nKernel panic - not syncing: x\n")
    with pytest.raises(SecureWorldMissingError):
        watch.feed(b"Kernel panic - not syncing: later\n")


def test_failure_shows_the_last_lines_of_the_console() -> None:
    lines = b"".join(b"line %d\n" % number for number in range(500))
    with pytest.raises(KernelPanicError, match="line 499"):
        BootWatch().feed(lines + b"Kernel panic - not syncing: x\n")


def test_stage_never_goes_back() -> None:
    watch = BootWatch()
    watch.feed(GOOD)
    assert watch.feed(b"Booting Linux on physical CPU\n") is Stage.AGENT_STARTING


def test_endless_line_is_cut() -> None:
    watch = BootWatch()
    for _ in range(100):
        watch.feed(b"x" * 65536)
    assert len(watch.last_lines()) <= 4096


def test_bytes_that_are_no_text_do_no_harm() -> None:
    watch = BootWatch()
    assert watch.feed(b"\xff\xfe\x00\n" + GOOD) is Stage.AGENT_STARTING
