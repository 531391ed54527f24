# SPDX-License-Identifier: Apache-2.0
"""Run every fuzzer for a while and judge the result.

    python tests/fuzz/run.py --seconds 60 [fuzz_program ...]
    python tests/fuzz/run.py --executions 10000000 --seconds 36000 --record FILE

A fuzzer that finds nothing because it tries nothing is a failure too: each
must start from at least so many seeds, execute at least so many inputs, and
get past the checks at least so often ("deep": a program that was accepted and
run, an answer that was read, a license that was opened). Corpora are kept in
`build/fuzz/corpus`, findings in `build/fuzz/findings`.

With `--executions` each stops after its parser was given so many messages, of
which fuzz_service sends many for one input; one that does not get so far in the
time it has is recorded as it is, and fails. Of the programs that
are accepted then only some are run, or running would take all of the time.
`--record` writes down what each fuzzer did, and leaves what the file says of others.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from undercroft._build import BUILD, ROOT, build
from undercroft._format import cbor
from undercroft._format.header import SealedHeader
from undercroft._host import require_tools
from undercroft._spec import SUITE_AES_256_GCM
from undercroft.errors import Error
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
from undercroft.license import issue
from undercroft.tensor import TensorInfo
from undercroft.update import Revocation, Successor, VersionFloor, issue_update

CORPUS = BUILD / "fuzz" / "corpus"
FINDINGS = BUILD / "fuzz" / "findings"

# The key of the device in fuzz_open.c.
DEVICE_KEY = bytes([0x44]) * 32


@dataclass(frozen=True)
class Fuzzer:
    """What is asked of one fuzzer, in so many seconds of a slow machine.

    Attributes:
        longest_bytes: of an input.
        seeds: that it starts from, at least.
        executions_per_second: inputs that it tries, at least.
        deep_per_second: inputs that get past the checks, at least.
        messages: that an execution gives to the parser, on average and at least.
        in_long_runs: environment variables for runs of very many executions.
    """

    longest_bytes: int
    seeds: int
    executions_per_second: float
    deep_per_second: float
    messages: int = 1
    in_long_runs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one run of a fuzzer did.

    Attributes:
        executions: inputs that were tried.
        messages: that the parser was given with them.
        deep: how many of them got past the checks.
        corpus: inputs kept, each of which reaches something that no other does.
        seconds: of wall clock.
        findings: inputs that made it fail.
        sources: the last commit of these sources when it began.
        date: when it ended.
    """

    executions: int
    messages: int
    deep: int
    corpus: int
    seconds: int
    findings: int
    sources: str
    date: str


FUZZERS = {
    "fuzz_attest": Fuzzer(72, seeds=50, executions_per_second=20, deep_per_second=10),
    "fuzz_open": Fuzzer(2048, seeds=4, executions_per_second=100, deep_per_second=0.1),
    "fuzz_program": Fuzzer(
        600,
        seeds=50,
        executions_per_second=30,
        deep_per_second=10,
        in_long_runs={"FUZZ_RUN_ONE_IN": "64"},
    ),
    "fuzz_service": Fuzzer(
        300, seeds=50, executions_per_second=20, deep_per_second=0.1, messages=10
    ),
    "fuzz_ta": Fuzzer(1500, seeds=50, executions_per_second=100, deep_per_second=10),
    "fuzz_update": Fuzzer(
        2048, seeds=4, executions_per_second=100, deep_per_second=0.1
    ),
}


def random_seeds(count: int, length: int) -> list[bytes]:
    """Return the same bytes at each run: the start of a search, no secret."""
    source = random.Random(length)
    return [source.randbytes(length) for _ in range(count)]


def open_seeds() -> list[bytes]:
    """Return sealed headers with licenses that the device in the fuzzer opens."""
    key = ProviderKey.from_seed(bytes(range(32)))
    other = ProviderKey.from_seed(bytes(32))
    public = X25519PrivateKey.from_private_bytes(DEVICE_KEY).public_key()
    device = DevicePublicKey(public.public_bytes_raw())
    model_key = ModelKey(model_id=bytes(16), content_key=bytes(range(32)))
    header = SealedHeader(
        model_id=model_key.model_id,
        model_version=3,
        suite=SUITE_AES_256_GCM,
        page_bytes=65536,
        program_pages=1,
        resident_pages=2,
        streamed_pages=3,
        salt=bytes(32),
        budget_bytes=12 << 20,
        inputs=(TensorInfo("input", (1, 3, 224, 224)),),
        outputs=(TensorInfo("output", (1, 1000)), TensorInfo("second", (4,))),
        extensions=((-131073, b"first"), (-131074, b"second")),
    )
    seeds = []
    for signs_header, signs_license in ((key, key), (key, other)):
        signed = signs_header.sign_message(header.encode())
        license_ = issue(
            model_key=model_key,
            device=device,
            signing_key=signs_license,
            license_id=bytes(16),
        )
        for flags in (0, 1):
            length = len(signed).to_bytes(2, "little")
            seeds.append(bytes([flags]) + length + signed + license_)
    return seeds


def update_seeds() -> list[bytes]:
    """Return pairs of updates, the second one with all that there is."""
    key = ProviderKey.from_seed(bytes(range(32)))
    other = ProviderKey.from_seed(bytes(32))
    first = issue_update(signing_key=key, issued_at=1_900_000_000)
    second = issue_update(
        signing_key=key,
        version=7,
        revocations=[Revocation(bytes(16), 1000), Revocation(bytes(16), 1, bytes(32))],
        floors=[VersionFloor(bytes(16), 3)],
        successor=Successor(other.public(), retire=True),
        issued_at=1_900_000_001,
    )
    third = key.sign_message(
        cbor.encode({6: 1_900_000_002, -131073: b"first", -131074: b"second"})
    )
    return [
        bytes([flags]) + len(one).to_bytes(2, "little") + one + two
        for flags in (0, 1)
        for one, two in ((first, second), (second, second), (second, third))
    ]


def service_seeds() -> list[bytes]:
    """Return inferences as fuzz_service.c reads them, for streams of so many pages:
    plain ones, and such whose inputs and outputs are sealed.
    """
    loaded, push = [1], [0, 5, 0]
    plain = ([18, 0], [22, 1], [26, 0, 0, 3])
    private = ([18, 1, 3, 100], [22, 1, 7], [26, 0, 0, 3, 1])
    return [
        bytes(loaded + begin + inputs + push * pages + output * 4)
        for begin, inputs, output in (plain, private)
        for pages in range(1, 60)
    ]


def seed(name: str, fuzzer: Fuzzer, corpus: Path) -> int:
    """Write a fuzzer's seeds into its corpus; return how many files it has."""
    corpus.mkdir(parents=True, exist_ok=True)
    if name == "fuzz_open":
        seeds = open_seeds()
    elif name == "fuzz_update":
        seeds = update_seeds()
    else:
        seeds = random_seeds(64, fuzzer.longest_bytes // 2)
        seeds += service_seeds() if name == "fuzz_service" else []
    for content in seeds:
        (corpus / hashlib.sha1(content, usedforsecurity=False).hexdigest()).write_bytes(
            content
        )
    return len(list(corpus.iterdir()))


def run(
    name: str,
    fuzzer: Fuzzer,
    folder: Path,
    seconds: int,
    messages: int | None = None,
) -> tuple[Outcome, list[str]]:
    """Run one fuzzer; return what it did and what is wrong."""
    corpus = CORPUS / name
    findings = FINDINGS / name
    findings.mkdir(parents=True, exist_ok=True)
    seeds = seed(name, fuzzer, corpus)
    begun = time.monotonic()
    sources = _sources()
    executions = None if messages is None else messages // fuzzer.messages
    settings = {} if messages is None else fuzzer.in_long_runs
    with tempfile.TemporaryDirectory() as scratch:
        # A copy, so that building anew does not end a run of hours.
        program = shutil.copy(folder / name, scratch)
        done = subprocess.run(
            [
                program,
                f"-max_total_time={seconds}",
                *([] if executions is None else [f"-runs={executions}"]),
                f"-max_len={fuzzer.longest_bytes}",
                "-len_control=0",
                # By the wall clock, of a machine that may have other things to do.
                f"-timeout={30 if executions is None else 600}",
                "-rss_limit_mb=2048",
                "-print_final_stats=1",
                "-verbosity=0",
                f"-artifact_prefix={findings}/",
                corpus,
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, **settings, "UBSAN_OPTIONS": "print_stacktrace=1"},
        )
    tried = _number(r"number_of_executed_units:\s*(\d+)", done.stderr)
    outcome = Outcome(
        executions=tried,
        messages=_number(r"^messages: (\d+)", done.stderr) or tried,
        deep=_number(r"^deep: (\d+)", done.stderr),
        corpus=len(list(corpus.iterdir())),
        seconds=round(time.monotonic() - begun),
        findings=int(done.returncode != 0),
        sources=sources,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )
    if done.returncode != 0:
        lines = done.stderr.splitlines()[-60:]
        return outcome, [f"it found a fault, kept in {findings}:", *lines]
    sys.stdout.write(
        f"{name}: {seeds} seeds, {outcome.executions} runs, {outcome.messages} "
        f"messages, {outcome.deep} deep\n"
    )
    sys.stdout.flush()
    least_executions = executions or fuzzer.executions_per_second * seconds
    problems = []
    for what, got, least in (
        ("seeds", seeds, fuzzer.seeds),
        ("runs", outcome.executions, least_executions),
        ("messages", outcome.messages, messages or least_executions),
        (
            "deep runs",
            outcome.deep,
            1 if executions else fuzzer.deep_per_second * seconds,
        ),
    ):
        if got < least:
            problems.append(f"{got} {what}, at least {least:.0f} are expected")
    return outcome, problems


def record(path: Path, name: str, outcome: Outcome) -> None:
    """Write down what one fuzzer did, beside the others."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known[name] = asdict(outcome)
    path.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


def _sources() -> str:
    done = subprocess.run(
        ["git", "log", "-1", "--format=%h", "--", "engine", "spec", "tests/fuzz"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    return done.stdout.strip() or "unknown"


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text, re.MULTILINE)
    return int(match[1]) if match else 0


def main() -> int:
    """Run the fuzzers that are named, or all; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each fuzzer")
    parser.add_argument("--executions", type=int, help="and no more, for each fuzzer")
    parser.add_argument("--record", type=Path, help="a JSON file of what was done")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FUZZERS))
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(FUZZERS)
    if unknown:
        parser.error(f"no such fuzzer: {', '.join(sorted(unknown))}")
    try:
        require_tools(["clang"], purpose="run the fuzzers")
        folder = build("fuzz")
    except Error as error:
        sys.stderr.write(f"{error.diagnostics()}\n")
        return error.exit_code
    failed = False
    for name in arguments.names or sorted(FUZZERS):
        outcome, problems = run(
            name, FUZZERS[name], folder, arguments.seconds, arguments.executions
        )
        if arguments.record:
            record(arguments.record, name, outcome)
        for problem in problems:
            sys.stderr.write(f"{name}: {problem}\n")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
