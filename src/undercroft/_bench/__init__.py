# SPDX-License-Identifier: Apache-2.0
"""Measurements on the board by its instruction clock.

`run` does them, `report` names what they are, `guest` is the part that runs on
the board, and `exchange` carries files there and answers back. The results'
shape is that of `undercroft bench --json`.
"""
