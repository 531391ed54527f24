# SPDX-License-Identifier: Apache-2.0
"""Runs in the board's guest: makes calls to a Trusted Application, any calls.

`guest.py` sends this text followed by a call of `main`. A step is one of::

    {"open": NAME}  {"close": NAME}
    {"call": NAME, "command": N, "params": [PARAM, PARAM, PARAM, PARAM]}
    {"wait": NAME}  # until the host has looked; see `Steps.start`

and a PARAM one of ``["none"]``, ``["value_input", a, b]``, ``["value_inout", a,
b]``, ``["value_output"]``, ``["in", hex]``, ``["inout", hex]``, ``["out", size]``
(temporary memory), ``["out", size, NAME]`` (what came out is a blob from then on),
``["null_in", size]``, ``["null_out", size]`` (no memory, but a size), ``["buffer_in",
size]`` (the session's registered memory). For hex, ``@NAME`` stands for one of the
request's blobs, ``@NAME^PLACE:MASK`` for it with a byte changed.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import time
import zlib
from pathlib import Path
from typing import Any
from uuid import UUID

from undercroft._device import teec
from undercroft._device.tee import TeeDevice, TeeInvoker
from undercroft._device.teec import ParamType, TeecOperation
from undercroft.errors import Error

_KINDS = {
    "none": ParamType.NONE,
    "value_input": ParamType.VALUE_INPUT,
    "value_output": ParamType.VALUE_OUTPUT,
    "value_inout": ParamType.VALUE_INOUT,
    "in": ParamType.MEMREF_TEMP_INPUT,
    "out": ParamType.MEMREF_TEMP_OUTPUT,
    "inout": ParamType.MEMREF_TEMP_INOUT,
    "null_in": ParamType.MEMREF_TEMP_INPUT,
    "null_out": ParamType.MEMREF_TEMP_OUTPUT,
    "buffer_in": ParamType.MEMREF_PARTIAL_INPUT,
}
OUTPUT_FILL = 0x5A


def bytes_of(text: str, blobs: dict[str, str]) -> bytes:
    """Read hexadecimal, or a blob with or without a changed byte."""
    if not text.startswith("@"):
        return bytes.fromhex(text)
    name, _, change = text[1:].partition("^")
    data = bytearray.fromhex(blobs[name])
    if change:
        place, mask = map(int, change.split(":"))
        data[place] ^= mask
    return bytes(data)


def call(
    invoker: TeeInvoker,
    command: int,
    params: list[list[Any]],
    blobs: dict[str, str],
) -> dict[str, Any]:
    """Make one call and return everything that came back."""
    operation = TeecOperation()
    memories: dict[int, Any] = {}
    sizes: dict[int, int] = {}
    for index, (kind, *arguments) in enumerate(params):
        operation.param_types |= _KINDS[kind] << (4 * index)
        param = operation.params[index]
        if kind in ("value_input", "value_inout"):
            param.value.a, param.value.b = arguments
        elif kind == "buffer_in":
            param.memref.parent = ctypes.pointer(invoker._memory.shared)
            param.memref.size = arguments[0]
        elif kind in ("null_in", "null_out"):
            param.tmpref.size = arguments[0]
        elif kind in ("in", "inout", "out"):
            if kind == "out":
                data = bytes([OUTPUT_FILL]) * arguments[0]
            else:
                data = bytes_of(arguments[0], blobs)
            memories[index] = ctypes.create_string_buffer(data, max(len(data), 1))
            param.tmpref.buffer = ctypes.addressof(memories[index])
            param.tmpref.size = sizes[index] = len(data)
    origin = ctypes.c_uint32()
    result = invoker._library.TEEC_InvokeCommand(
        ctypes.byref(invoker._session),
        command,
        ctypes.byref(operation),
        ctypes.byref(origin),
    )
    answer: dict[str, Any] = {"result": result, "origin": origin.value}
    values = {}
    outputs = {}
    for index, (kind, *_) in enumerate(params):
        if kind in ("value_output", "value_inout"):
            value = operation.params[index].value
            values[str(index)] = [value.a, value.b]
        elif kind in ("out", "inout"):
            outputs[str(index)] = {
                "size": operation.params[index].tmpref.size,
                "memory": memories[index].raw[: sizes[index]].hex(),
            }
    for index, (kind, *arguments) in enumerate(params):
        if kind == "out" and len(arguments) > 1:
            blobs[arguments[1]] = outputs[str(index)]["memory"]
    return answer | {"values": values, "outputs": outputs}


def wait(name: str) -> None:
    """Say that this place is reached, and wait until told to go on."""
    reached = Path(f"/run/steps-{os.getpid()}-{name}")
    reached.touch()
    while reached.exists():
        time.sleep(0.02)


def main(packed: str) -> None:
    """Run the packed steps and print the packed answers."""
    request = json.loads(zlib.decompress(base64.b64decode(packed)))
    device = TeeDevice(uuid=UUID(request["uuid"]))
    sessions: dict[str, TeeInvoker] = {}
    answers: list[dict[str, Any]] = []
    for step in request["steps"]:
        try:
            if "open" in step:
                sessions[step["open"]] = device.open()
                answers.append({})
            elif "close" in step:
                sessions.pop(step["close"]).close()
                answers.append({})
            elif "wait" in step:
                wait(step["wait"])
                answers.append({})
            elif "info" in step:
                answers.append(device.info().as_dict())
            else:
                invoker = sessions[step["call"]]
                answers.append(
                    call(invoker, step["command"], step["params"], request["blobs"])
                )
                if answers[-1]["result"] != teec.Result.SUCCESS:
                    failure = teec.command_failure(
                        answers[-1]["result"], answers[-1]["origin"], "CALL"
                    )
                    answers[-1]["error"] = [failure.code, failure.diagnostics()]
        except Error as error:
            answers.append({"error": [error.code, error.diagnostics()]})
    for session in sessions.values():
        session.close()
    device.close()
    text = base64.b64encode(zlib.compress(json.dumps(answers).encode())).decode()
    print("answers:", text)
