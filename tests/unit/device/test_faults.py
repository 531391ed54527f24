# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercroft._device.faults import (
    RequestError,
    decode_error,
    encode_error,
    http_status_of,
)
from undercroft._spec import Status
from undercroft.errors import (
    DeviceError,
    DeviceLostError,
    Error,
    FormatError,
    InputError,
    from_status,
)


@pytest.mark.parametrize("status", [status for status in Status if status])
def test_every_status_survives_the_wire(status: Status) -> None:
    error = from_status(status, 77, "OPEN")
    again = decode_error(http_status_of(error), encode_error(error))
    assert type(again) is type(error)
    assert again.message == error.message
    assert again.hint == error.hint
    if isinstance(error, DeviceError):
        assert isinstance(again, DeviceError)
        assert again.status == status
        assert again.detail == 77
        assert again.command == "OPEN"


@pytest.mark.parametrize(
    ("error", "http_status"),
    [
        (InputError("x"), 400),
        (from_status(Status.WRONG_DEVICE, 0, "OPEN"), 403),
        (from_status(Status.NOT_AUTHENTIC, 0, "PUSH"), 403),
        (from_status(Status.BAD_STATE, 0, "PUSH"), 409),
        (FormatError("x"), 422),
        (DeviceError("x"), 500),
        (DeviceLostError("x"), 503),
        (from_status(Status.NO_SECURE_MEMORY, 9, "OPEN"), 507),
        (RequestError(HTTPStatus.NOT_FOUND, "x"), 404),
    ],
)
def test_http_status_that_fits(error: Error, http_status: int) -> None:
    assert http_status_of(error) == http_status


def test_the_body_is_the_protocols() -> None:
    value = json.loads(encode_error(RequestError(HTTPStatus.NOT_FOUND, "no model")))
    assert value["error"] == "no model"
    assert value["undercroft"]["code"] == "Device"


def test_another_servers_error_keeps_its_words() -> None:
    error = decode_error(404, b'{"error": "unknown model"}')
    assert type(error) is DeviceError
    assert error.message == "unknown model (HTTP status 404)"


def test_something_that_is_no_agent() -> None:
    error = decode_error(502, b"<html>Bad Gateway</html>")
    assert type(error) is DeviceError
    assert "502" in error.message
    assert "undercroft serve" in error.hint


def test_a_foreign_class_name_is_no_way_in() -> None:
    body = b'{"error": "x", "undercroft": {"code": "Budget", "status": "a"}}'
    assert type(decode_error(500, body)) is DeviceError


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    assert isinstance(decode_error(500, body), Error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "undercroft", "code", "status", "hint"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    )
)
def test_no_json_breaks_the_reader(value: object) -> None:
    assert isinstance(decode_error(500, json.dumps(value).encode()), Error)
    body = json.dumps({"error": "x", "undercroft": value}).encode()
    assert isinstance(decode_error(500, body), Error)
