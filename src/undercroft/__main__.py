# SPDX-License-Identifier: Apache-2.0
"""`python -m undercroft`: the command line."""

from undercroft._cli import run

if __name__ == "__main__":
    run()
