# SPDX-License-Identifier: Apache-2.0
"""How long planning takes, and what comes of it, for every known network.

python benchmarks/planning.py                      # all of them, print
python benchmarks/planning.py --model vgg-16
python benchmarks/planning.py --record             # write results/planning.json

Every budget that a network has to work in, planned by the command in a process of its
own, twice: the second plan must be the first again. The least budget is what planning
for one that is too small answers, and is planned for as well.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from models import budgets
from undercroft import _models
from undercroft._bench.environment import host
from undercroft.errors import BudgetExceededError, HarnessError
from undercroft.plan import plan

RESULT = Path(__file__).parent / "results" / "planning.json"
SUITE = "aegis-128l"
TOO_SMALL_BYTES = 64 << 10
NOT_ENOUGH = (0.98, 0.8)
"""Shares of what is needed that must be refused as well."""
LIMIT_SECONDS = {"vgg-16": 10.0, "densenet-121": 30.0}
"""What is asked for."""


def _command(model: str, budget: int | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "undercroft", "plan", model, "--json"]
    command += ["--budget", str(budget), "--suite", SUITE]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def least_budget(model: str) -> int:
    """What the refusal of a budget that is too small says is needed, in bytes.

    Raises:
        HarnessError: it was not refused, or less does as well.
        BudgetExceededError: that much does not do.
    """
    path, shapes = _models.get(model), _models.info(model).input_shapes

    def refused(budget: int) -> int:
        try:
            plan(path, budget, input_shapes=shapes, suite=SUITE)
        except BudgetExceededError as refusal:
            return refusal.needed_bytes
        raise HarnessError(f"{model} fits {budget} bytes: nothing was refused")

    needed = refused(TOO_SMALL_BYTES)
    plan(path, needed, input_shapes=shapes, suite=SUITE)
    for share in NOT_ENOUGH:
        refused(int(share * needed))
    return needed


def row(model: str, budget: int) -> dict[str, Any]:
    """Plan twice; return how long the longer one took, and what it says.

    Raises:
        HarnessError: the model cannot be planned, or not twice alike.
    """
    seconds, plans = [], []
    for _ in range(2):
        began = time.perf_counter()
        done = _command(model, budget)
        seconds.append(time.perf_counter() - began)
        if done.returncode:
            raise HarnessError(f"{model} at {budget}: {done.stderr.strip()}")
        plans.append(done.stdout)
    digests = {hashlib.sha256(text.encode()).hexdigest() for text in plans}
    if len(digests) != 1:
        raise HarnessError(f"{model} at {budget}: two plans of the same are not alike")
    said = json.loads(plans[0])
    kept = ("arena_bytes", "decrypted_bytes", "spilled_bytes", "activations_bytes")
    return {
        "model": model,
        "budget_bytes": budget,
        "seconds": round(max(seconds), 2),
        **{name: said[name] for name in (*kept, "activations_lower_bound_bytes")},
        "expected_overhead": round(said["expected_overhead"], 4),
    }


def main() -> int:
    """Plan all that is asked for; exit with 1 when a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = _models.names()
    parser.add_argument("--model", action="append", choices=known)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    rows, least = [], {}
    for model in options.model or known:
        least[model] = least_budget(model)
        print(f"{model:20} needs {least[model] / 2**20:.2f} MiB", flush=True)
        for budget in budgets(model):
            rows.append(row(model, budget))
            print(
                f"{model:20} {budget / 2**20:5.0f} MiB {rows[-1]['seconds']:7.2f} s, "
                f"{rows[-1]['expected_overhead']:.3f} x",
                flush=True,
            )
    document = {"environment": host(), "suite": SUITE, "least_budget_bytes": least}
    if options.record:
        RESULT.write_text(json.dumps(document | {"rows": rows}, indent=2) + "\n")
    late = [
        row for row in rows if row["seconds"] > LIMIT_SECONDS.get(row["model"], 3600)
    ]
    for found in late:
        print(f"too slow: {found}", file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
