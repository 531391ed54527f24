# SPDX-License-Identifier: Apache-2.0
"""``python -m models NAME FILE`` writes one network as an ONNX file."""

from __future__ import annotations

import sys
from pathlib import Path

from models import build

if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
