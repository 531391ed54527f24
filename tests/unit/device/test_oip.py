# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercroft._device import oip
from undercroft.errors import InputError
from undercroft.tensor import TensorInfo

INPUTS = (TensorInfo("a", (2, 3)), TensorInfo("b", (1,)))
OUTPUTS = (TensorInfo("y", (2,)), TensorInfo("z", (1, 2)))


def tensor(
    name: str, shape: list[int], data: Any = None, **more: Any
) -> dict[str, Any]:
    value: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": shape, **more}
    if data is not None:
        value["data"] = data
    return value


GOOD = [tensor("a", [2, 3], [1, 2, 3, 4, 5, 6]), tensor("b", [1], [7])]


def parse(document: Any, raw: bytes = b"") -> oip.InferRequest:
    head = json.dumps(document).encode()
    return oip.parse_request(head + raw, len(head) if raw else None, INPUTS, OUTPUTS)


def test_json_request() -> None:
    request = parse({"id": "7", "inputs": GOOD})
    assert request.id == "7"
    assert request.inputs[0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert request.inputs[1].tolist() == [7]
    assert request.outputs == ["y", "z"]
    assert request.binary == [False, False]


def test_nested_json_data() -> None:
    nested = tensor("a", [2, 3], [[1, 2, 3], [4, 5, 6]])
    assert parse({"inputs": [nested, GOOD[1]]}).inputs[0].shape == (2, 3)


def test_inputs_in_any_order() -> None:
    assert parse({"inputs": GOOD[::-1]}).inputs[1].tolist() == [7]


def test_mixed_binary_request() -> None:
    raw = struct.pack("<f", 2.5)
    binary = tensor("b", [1], parameters={"binary_data_size": 4})
    request = parse({"inputs": [GOOD[0], binary]}, raw)
    assert request.inputs[1].tolist() == [2.5]
    assert request.inputs[1].dtype == np.float32


def test_binary_array_survives_its_body() -> None:
    head = json.dumps(
        {
            "inputs": [
                tensor("b", [1], parameters={"binary_data_size": 4}),
                GOOD[0],
            ]
        }
    ).encode()
    body = bytearray(head + struct.pack("<f", 2.5))
    request = oip.parse_request(body, len(head), INPUTS, OUTPUTS)
    body[-4:] = bytes(4)
    assert request.inputs[1].tolist() == [2.5]


def test_outputs_asked_for() -> None:
    wanted = [{"name": "z", "parameters": {"binary_data": True}}, {"name": "y"}]
    request = parse({"inputs": GOOD, "outputs": wanted})
    assert request.outputs == ["z", "y"]
    assert request.binary == [True, False]


def test_binary_output_by_default() -> None:
    request = parse(
        {
            "inputs": GOOD,
            "parameters": {"binary_data_output": True},
            "outputs": [{"name": "y"}, {"name": "z", "parameters": {"binary_data": 0}}],
        }
    )
    assert request.binary == [True, False]


@pytest.mark.parametrize(
    ("document", "raw", "says"),
    [
        ([], b"", "not a JSON object"),
        ({}, b"", "'inputs' has to be a list"),
        ({"inputs": [7]}, b"", "'inputs' has to be a list of objects"),
        ({"inputs": GOOD[:1]}, b"", "missing inputs: 'b'"),
        ({"inputs": [*GOOD, GOOD[0]]}, b"", "'a' is given twice"),
        ({"inputs": [tensor("c", [1], [1])]}, b"", "no input 'c'; it has 'a', 'b'"),
        ({"inputs": [tensor(["a"], [1], [1])]}, b"", "no input"),  # type: ignore[arg-type]
        ({"inputs": [tensor("a", [3, 2], [1] * 6)]}, b"", r"expected \[2, 3\]"),
        ({"inputs": [tensor("a", [2, 3], [1] * 5)]}, b"", "5 elements; expected 6"),
        ({"inputs": [tensor("a", [2, 3], ["x"] * 6)]}, b"", "something else than"),
        ({"inputs": [tensor("a", [2, 3], [[1, 2], [3]])]}, b"", "something else than"),
        ({"inputs": [tensor("a", [2, 3])]}, b"", "neither 'data' nor"),
        ({"inputs": [{**GOOD[0], "datatype": "FP64"}]}, b"", "expected FP32"),
        (
            {"inputs": [tensor("b", [1], parameters={"binary_data_size": 8})]},
            bytes(8),
            "binary_data_size 8; expected 4",
        ),
        (
            {"inputs": [tensor("b", [1], [1], parameters={"binary_data_size": 4})]},
            bytes(4),
            "expected 4 and no 'data'",
        ),
        (
            {"inputs": [tensor("b", [1], parameters={"binary_data_size": 4})]},
            bytes(3),
            "ends inside 'b'",
        ),
        ({"inputs": GOOD}, bytes(5), "5 bytes of binary data belong to no input"),
        ({"inputs": GOOD, "outputs": [{"name": "q"}]}, b"", "no output 'q'"),
        (
            {"inputs": GOOD, "outputs": [{"name": "y"}, {"name": "y"}]},
            b"",
            "asked for twice",
        ),
        (
            {
                "inputs": GOOD,
                "outputs": [{"name": "y", "parameters": {"classification": 3}}],
            },
            b"",
            "classification",
        ),
    ],
)
def test_bad_requests_say_what_is_wrong(document: Any, raw: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse(document, raw)


@pytest.mark.parametrize("length", [0, -1, 10**9])
def test_header_length_outside_the_body(length: int) -> None:
    with pytest.raises(InputError, match="Inference-Header-Content-Length"):
        oip.parse_request(b"{}", length, INPUTS, OUTPUTS)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_not_json(body: bytes) -> None:
    with pytest.raises(InputError):
        oip.parse_request(body, None, INPUTS, OUTPUTS)


@given(st.binary(max_size=300), st.one_of(st.none(), st.integers(-5, 400)))
def test_no_bytes_break_the_reader(body: bytes, length: int | None) -> None:
    with pytest.raises(InputError):
        oip.parse_request(body, length, INPUTS, OUTPUTS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "data", "datatype", "parameters", "id"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON, JSON)
def test_no_json_breaks_the_reader(inputs: Any, outputs: Any) -> None:
    document = {"inputs": [*GOOD, inputs], "outputs": outputs}
    with pytest.raises(InputError):
        parse(document)
    document = {"inputs": GOOD, "outputs": outputs, "parameters": inputs}
    try:
        request = parse(document)
    except InputError:
        return
    assert set(request.outputs) <= {"y", "z"}


@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=6, max_size=6),
    st.booleans(),
)
def test_what_is_encoded_can_be_parsed(values: list[float], binary: bool) -> None:
    arrays = [np.array(values, np.float32).reshape(2, 3), np.ones(1, np.float32)]
    body, head = oip.encode_request(INPUTS, arrays)
    request = oip.parse_request(body, head, INPUTS, OUTPUTS)
    assert all(
        np.array_equal(got, want)
        for got, want in zip(request.inputs, arrays, strict=True)
    )
    outputs = {"y": arrays[0][0, :2], "z": arrays[0][1:, :2]}
    asked = oip.InferRequest(
        id="x", inputs=[], outputs=["z", "y"], binary=[binary, not binary]
    )
    content, length = oip.encode_answer("m", "1", asked, outputs, {"k": 1})
    answer = oip.parse_answer(content, length, OUTPUTS)
    assert answer.parameters == {"k": 1}
    assert np.array_equal(answer.outputs["y"], outputs["y"])
    assert np.array_equal(answer.outputs["z"], outputs["z"])


def test_json_answer_is_one_document() -> None:
    asked = oip.InferRequest(id=None, inputs=[], outputs=["y"], binary=[False])
    content, length = oip.encode_answer(
        "m", "3", asked, {"y": np.array([1, 2], np.float32)}, {}
    )
    assert length is None
    assert json.loads(content) == {
        "model_name": "m",
        "model_version": "3",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}
        ],
        "parameters": {},
    }


def test_answer_that_leaves_an_output_out() -> None:
    body = json.dumps({"outputs": [tensor("y", [2], [1, 2])]}).encode()
    with pytest.raises(InputError, match="left out: 'z'"):
        oip.parse_answer(body, None, OUTPUTS)


def test_largest_request_holds_any_float_in_json() -> None:
    info = [TensorInfo("x", (1000,))]
    longest = [float(np.float32(-1.1754943508222875e-38))] * 1000
    body = json.dumps({"inputs": [tensor("x", [1000], longest)]})
    assert len(body) <= oip.max_request_bytes(info)
