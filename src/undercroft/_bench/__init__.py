# SPDX-License-Identifier: Apache-2.0
"""Measurements on the board by its instruction clock.

`subject` says what is measured, `run` does it, `report` names what came out,
`guest` is the part that runs on the board, and `exchange` carries files there and
answers back. `wall` times the engine on a host. The results' shape is that of
`undercroft bench --json`.
"""
