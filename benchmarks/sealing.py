# SPDX-License-Identifier: Apache-2.0
"""What sealing a large network costs, against writing as many encrypted bytes.

python benchmarks/sealing.py                      # VGG-16, print
python benchmarks/sealing.py --model resnet-50
python benchmarks/sealing.py --record             # write results/sealing.json

The bound is what nobody who writes encrypted pages from Python can go below:
`cryptography`'s AES-256-GCM over pages in memory, written to a file and synced.
Both are done in processes of their own, in turns, and the medians compared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "sealing.json"
TARGET_RATIO = 3.0
TARGET_PEAK_BYTES = 1 << 30


def write_pages(folder: Path, pages: int, page_bytes: int) -> dict[str, Any]:
    """Encrypt and write pages that are in memory already."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    page = os.urandom(page_bytes)
    began = time.perf_counter()
    cipher = AESGCM(os.urandom(32))
    with (folder / "pages.bin").open("wb") as file:
        for index in range(pages):
            file.write(cipher.encrypt(index.to_bytes(12, "little"), page, None))
        file.flush()
        os.fsync(file.fileno())
    return {"seconds": time.perf_counter() - began}


def seal_model(folder: Path, name: str, budget: str) -> dict[str, Any]:
    """Plan and seal; the process has imported its modules before."""
    import onnxruntime  # noqa: F401 part of starting, not of sealing

    import undercroft as uc
    from undercroft import _models
    from undercroft._import import import_model  # noqa: F401 as above
    from undercroft.errors import BudgetExceededError

    path = _models.get(name)
    key = uc.ProviderKey.generate()
    began = time.perf_counter()
    try:
        plan = uc.plan(path, budget)
    except BudgetExceededError as error:
        # So that sealing can be measured whatever the planner can do.
        plan = uc.plan(path, error.needed_bytes)
    planned = time.perf_counter()
    sealed = uc.seal(path, folder / "model.sealed", plan=plan, signing_key=key)
    return {
        "plan_seconds": planned - began,
        "seconds": time.perf_counter() - planned,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        "file_bytes": sealed.file_bytes,
        "pages": sealed.header.page_count,
        "page_bytes": sealed.header.page_bytes,
        "weights_bytes": plan.weights_bytes,
        "budget_bytes": plan.budget_bytes,
    }


def in_a_process(*arguments: str) -> dict[str, Any]:
    """Run one of the two above in a fresh process and a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="sealing-", dir=Path.cwd()) as folder:
        done = subprocess.run(
            [sys.executable, __file__, "--folder", folder, "--do", *arguments],
            check=True,
            stdout=subprocess.PIPE,
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def measure(model: str, budget: str, rounds: int) -> dict[str, Any]:
    """Do both in turns and return the medians."""
    seals, writes = [], []
    for index in range(rounds + 1):
        sealed = in_a_process("seal", "--model", model, "--budget", budget)
        written = in_a_process("write", str(sealed["pages"]), str(sealed["page_bytes"]))
        # The first round brings the model into the page cache.
        if index:
            seals.append(sealed)
            writes.append(written["seconds"])
    seconds = statistics.median(run["seconds"] for run in seals)
    plan_seconds = statistics.median(run["plan_seconds"] for run in seals)
    bound = statistics.median(writes)
    return seals[-1] | {
        "model": model,
        "rounds": rounds,
        "seconds": round(seconds, 3),
        "plan_seconds": round(plan_seconds, 3),
        "bound_seconds": round(bound, 3),
        "all_seconds": [round(run["seconds"], 3) for run in seals],
        "all_bound_seconds": [round(value, 3) for value in writes],
        "peak_bytes": max(run["peak_bytes"] for run in seals),
        "ratio": round(seconds / bound, 2),
        "ratio_with_planning": round((seconds + plan_seconds) / bound, 2),
        "environment": environment(),
    }


def environment() -> dict[str, str]:
    """What this was measured on."""
    from importlib.metadata import version

    from undercroft._bench.environment import host

    return host() | {
        "python": sys.version.split()[0],
        "cryptography": version("cryptography"),
        "numpy": version("numpy"),
        "onnxruntime": version("onnxruntime"),
    }


def main() -> int:
    """Measure, print, and say whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="vgg-16")
    parser.add_argument("--budget", default="12MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--do", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.do:
        done = (
            write_pages(given.folder, int(given.do[1]), int(given.do[2]))
            if given.do[0] == "write"
            else seal_model(given.folder, given.model, given.budget)
        )
        print(json.dumps(done))
        return 0
    result = measure(given.model, given.budget, given.rounds)
    met = (
        result["ratio_with_planning"] <= TARGET_RATIO
        and result["peak_bytes"] <= TARGET_PEAK_BYTES
    )
    print(
        f"{result['model']}: sealing {result['seconds']:.2f} s, planning "
        f"{result['plan_seconds']:.2f} s; as many AES-GCM bytes written "
        f"{result['bound_seconds']:.2f} s: {result['ratio']:.2f} x, with planning "
        f"{result['ratio_with_planning']:.2f} x (at most {TARGET_RATIO:g}); "
        f"{result['peak_bytes'] / 2**20:.0f} MiB of memory at most (1024 allowed): "
        f"{'met' if met else 'MISSED'}"
    )
    if given.record:
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
