# SPDX-License-Identifier: Apache-2.0
"""What `undercroft license issue --devices` costs for a large list.

python benchmarks/bulk_licenses.py                  # 100,000 devices, print
python benchmarks/bulk_licenses.py --devices 20000
python benchmarks/bulk_licenses.py --record         # write it to results/

The command runs as a user runs it, in a process of its own; time and memory are
those of it and its workers, starting and stopping included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from undercroft._bench.environment import host
from undercroft.keys import ModelKey, ProviderKey

RESULT = Path(__file__).parent / "results" / "bulk-licenses.json"
TARGET_SECONDS = 60.0


def prepare(folder: Path, devices: int) -> list[str]:
    """Write keys and a list of devices; return the command."""
    ProviderKey.generate().save(folder / "provider.pem")
    ModelKey.generate().save(folder / "model.key")
    with (folder / "devices.csv").open("w") as stream:
        stream.write("device\n")
        stream.writelines(f"{os.urandom(32).hex()}\n" for _ in range(devices))
    return [
        *(sys.executable, "-m", "undercroft", "license", "issue", "--json"),
        *("--model-key", str(folder / "model.key")),
        *("--devices", str(folder / "devices.csv")),
        *("--key", str(folder / "provider.pem")),
        *("-o", str(folder / "licenses.jsonl"), "--expires", "90d"),
    ]


def measure(devices: int) -> dict[str, Any]:
    """Issue for so many devices, and look at the file that came out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = prepare(folder, devices)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        seconds = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        report = json.loads(done.stdout)
        with (folder / "licenses.jsonl").open() as stream:
            ids = {json.loads(line)["license_id"] for line in stream}
    if not report["issued"] == devices == len(ids):
        raise SystemExit(
            f"{devices} devices, {report['issued']} issued, {len(ids)} ids"
        )
    cpu = sum(after[:2]) - sum(before[:2])
    return {
        "devices": devices,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "processors_used": round(cpu / seconds, 2),
        "peak_bytes_of_a_process": after.ru_maxrss * 1024,
        "file_bytes": report["bytes"],
        "load_average_before": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    """Measure; 1 when it takes longer than it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    result = measure(options.devices)
    result |= {"target_seconds": TARGET_SECONDS, "environment": host()}
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        RESULT.write_text(f"{text}\n")
    return int(result["seconds"] > TARGET_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
