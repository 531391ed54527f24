# SPDX-License-Identifier: Apache-2.0
"""Loads the programs of `benchmarks/`, which are no package."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from undercroft._build import ROOT


def program(name: str) -> ModuleType:
    """Return `benchmarks/NAME.py` as a module."""
    place = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
