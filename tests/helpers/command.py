# SPDX-License-Identifier: Apache-2.0
"""The command line in this process: what it prints and how it exits."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from dataclasses import dataclass
from unittest import mock

from undercroft._cli import run


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def undercroft(*arguments: str) -> Done:
    """Run `undercroft ARGUMENTS` in the current folder, as its entry point does.

    A process of its own takes a second to start; the tests that use this run
    dozens of commands.
    """
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["undercroft", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        try:
            run()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
    return Done(code, out.getvalue(), err.getvalue())
