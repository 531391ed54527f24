# SPDX-License-Identifier: Apache-2.0
"""What the service refuses, and that each refusal says what to do next."""

from __future__ import annotations

import base64
import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from helpers.attesting import PlayedDevice
from helpers.license_service import (
    ACME,
    MODEL,
    MODEL_ID,
    MODEL_NAME,
    PROVIDER,
    make_service,
)
from undercroft._provider import security
from undercroft._provider.app import create_app
from undercroft._provider.device_list import MAX_LIST_DEVICES
from undercroft._provider.guards import MAX_BODY_BYTES
from undercroft._provider.problems import PROBLEMS, ProblemError
from undercroft._provider.rates import RateLimiter
from undercroft._provider.security import Caller, create_key, list_keys, revoke_key
from undercroft.factory import Authority

DEVICE = PlayedDevice.number(1)
NOBODY = "0" * 64


def refused(answer, kind: str) -> dict:
    """Check the form of a refusal (RFC 9457), and that it is this one."""
    value = answer.json()
    assert value["type"] == f"/problems/{kind}", answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == value["status"] == PROBLEMS[kind].status
    assert value["title"] == PROBLEMS[kind].title
    assert value["detail"]
    assert value["hint"]
    return value


def challenge(api) -> str:
    return api.post("/v1/challenges").json()["nonce"]


# ---- who asks ----


def test_without_an_api_key_or_with_a_wrong_one_nothing_is_told(sqlite_api) -> None:
    good = sqlite_api.headers["authorization"].split()[1]
    for value, kind in (
        ("", "api-key-missing"),
        ("Basic abc", "api-key-missing"),
        ("Bearer ", "api-key-missing"),
        ("Bearer x", "api-key-refused"),
        (f"Bearer {good[:-1]}", "api-key-refused"),
        (f"Bearer {good[:-3]}AAA", "api-key-refused"),
        (f"Bearer uck_{'0' * 16}_{good[-43:]}", "api-key-refused"),
        (f"Bearer {good}é".encode("latin-1"), "api-key-refused"),
    ):
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/challenges")):
            answer = sqlite_api.request(method, path, headers={"Authorization": value})
            refused(answer, kind)
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_api_key_ends_when_it_expires_or_is_revoked(
    sqlite_folder, sqlite_api, monkeypatch
) -> None:
    key = sqlite_folder.new_key("read")
    headers = {"Authorization": f"Bearer {key}"}
    assert sqlite_api.get("/v1/models", headers=headers).status_code == 200
    store = sqlite_api.app.state.service.store
    revoke_key(store, key.split("_")[1])
    refused(sqlite_api.get("/v1/models", headers=headers), "api-key-refused")

    row, short = create_key(
        store, "short", ["read"], rate=(10, 1), expires_at=int(time.time()) + 60
    )
    headers = {"Authorization": f"Bearer {short}"}
    assert sqlite_api.get("/v1/models", headers=headers).status_code == 200
    later = time.time() + 61
    monkeypatch.setattr(security.time, "time", lambda: later)
    refused(sqlite_api.get("/v1/models", headers=headers), "api-key-refused")
    states = {
        item.name: security.describe_key(item)["state"] for item in list_keys(store)
    }
    assert states["short"] == "expired"
    assert states["test"] == "revoked"
    assert row.secret_sha256 != short.encode()


def test_the_database_does_not_hold_what_opens_anything(
    sqlite_folder, sqlite_api, enrol
) -> None:
    """A stolen database: no API key, no content key, no signing key is in it."""
    enrol(sqlite_api, 1)
    body = {"model": MODEL_NAME, "device_id": DEVICE.device_id}
    assert sqlite_api.post("/v1/licenses", json=body).status_code == 201
    folder = sqlite_folder.config.parent
    kept = b"".join(path.read_bytes() for path in folder.glob("provider.db*"))
    assert DEVICE.device_id.encode() in kept
    secret = sqlite_folder.api_key.split("_", 2)[2]
    for hidden in (
        secret.encode(),
        base64.urlsafe_b64decode(secret + "="),
        MODEL.content_key,
        MODEL.content_key.hex().encode(),
        PROVIDER.seed(),
        PROVIDER.seed().hex().encode(),
    ):
        assert hidden not in kept


@pytest.mark.parametrize(
    ("scope", "method", "path", "body"),
    [
        ("enrol", "POST", "/v1/challenges", None),
        ("enrol", "POST", "/v1/devices", DEVICE.answer("0" * 64)),
        ("issue", "POST", "/v1/licenses", {"model": "m", "device_id": NOBODY}),
        ("issue", "POST", "/v1/licenses/list?model=m", None),
        ("issue", "POST", f"/v1/licenses/{'0' * 32}/renew", None),
        ("revoke", "POST", "/v1/revocations", {"model": "m"}),
        ("audit", "GET", "/v1/audit", None),
        *(
            ("read", "GET", f"/v1/{path}", None)
            for path in (
                "models", "devices", f"devices/{NOBODY}", "licenses",
                f"licenses/{'0' * 32}", f"licenses/{'0' * 32}/content",
                "revocations", "updates",
            )
        ),
    ],
)  # fmt: skip
def test_each_scope_opens_its_own_doors(
    sqlite_folder, sqlite_api, scope: str, method: str, path: str, body: object
) -> None:
    others = set(security.SCOPES) - {scope}
    headers = {"Authorization": f"Bearer {sqlite_folder.new_key(*others)}"}
    answer = sqlite_api.request(method, path, json=body, headers=headers)
    assert refused(answer, "scope-missing")["scope"] == scope
    headers = {"Authorization": f"Bearer {sqlite_folder.new_key(scope)}"}
    answer = sqlite_api.request(method, path, json=body, headers=headers)
    assert answer.status_code not in {401, 403}, answer.text


def test_over_its_rate_a_key_is_told_how_long_to_wait(folder, api) -> None:
    headers = {"Authorization": f"Bearer {folder.new_key('read', rate=(3, 3600))}"}
    for _ in range(3):
        assert api.get("/v1/models", headers=headers).status_code == 200
    answer = api.get("/v1/models", headers=headers)
    refused(answer, "rate-exceeded")
    assert 1100 <= int(answer.headers["retry-after"]) <= 1200
    assert api.get("/v1/models").status_code == 200  # another key


def test_workers_share_one_bucket_and_it_fills_again(folder) -> None:
    service = folder.open()
    row, _ = create_key(service.store, "rate", ["read"], rate=(100, 10))
    caller = Caller(row.key_id, "rate", frozenset(), (100, 10))
    now = [1000.0]
    workers = [RateLimiter(service.store, lambda: now[0]) for _ in range(3)]

    def taken(most: int) -> int:
        count = 0
        for number in range(most):
            with suppress(ProblemError):
                workers[number % 3].take(caller)
                count += 1
        return count

    assert taken(120) == 100
    now[0] += 5.0
    # What a worker leased and did not use in time is lost, never gained.
    assert 46 <= taken(60) <= 50
    now[0] += 1000.0
    assert taken(120) == 100
    service.close()


# ---- enrolment ----


def test_evidence_that_the_policy_refuses_names_every_check(sqlite_api) -> None:
    body = DEVICE.answer(challenge(sqlite_api), debug=0, hardware_key=1)
    value = refused(sqlite_api.post("/v1/devices", json=body), "evidence-refused")
    assert [item["check"] for item in value["checks"]] == [6, 7, 8]
    assert all(item["wanted"] and item["hint"] for item in value["checks"])
    assert sqlite_api.get("/v1/devices").json()["items"] == []


def test_evidence_that_does_not_verify(sqlite_api) -> None:
    api = sqlite_api
    foreign = DEVICE.endorsed_by(Authority.create("Nobody"))
    good = DEVICE.endorsed_by(ACME)
    for change in (
        {"endorsement": foreign.public_bytes(Encoding.PEM).decode()},
        {"evidence": base64.b64encode(b"no evidence").decode()},
        {"evidence": PlayedDevice.number(2).answer("0" * 64)["evidence"]},
        {
            "endorsement": PlayedDevice.number(2)
            .endorsed_by(ACME)
            .public_bytes(Encoding.PEM)
            .decode()
        },
    ):
        body = DEVICE.answer(challenge(api), good) | change
        refused(api.post("/v1/devices", json=body), "evidence-not-authentic")
    unusable = DEVICE.answer(challenge(api), key=bytes(32))
    unusable["endorsement"] = None
    value = api.post("/v1/devices", json=unusable).json()
    assert value["type"] == "/problems/evidence-refused"


def test_a_device_key_of_small_order_is_refused(tmp_path) -> None:
    folder = make_service(tmp_path, allow_development=True)
    with TestClient(create_app(folder.open), headers=folder.headers) as api:
        body = DEVICE.answer(challenge(api), key=bytes(32))
        refused(api.post("/v1/devices", json=body), "device-key-unusable")


def test_a_challenge_is_answered_once_and_in_time(sqlite_api, monkeypatch) -> None:
    api = sqlite_api
    good = DEVICE.endorsed_by(ACME)
    body = DEVICE.answer("ab" * 32, good)
    refused(api.post("/v1/devices", json=body), "challenge-unknown")

    nonce = challenge(api)
    first = api.post("/v1/devices", json=DEVICE.answer(nonce, good))
    again = api.post("/v1/devices", json=DEVICE.answer(nonce, good))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    other = PlayedDevice.number(2)
    body = other.answer(nonce, other.endorsed_by(ACME))
    refused(api.post("/v1/devices", json=body), "challenge-unknown")

    body = other.answer(challenge(api), other.endorsed_by(ACME))
    from undercroft._provider import enrolment

    later = time.time() + 301
    monkeypatch.setattr(enrolment.time, "time", lambda: later)
    refused(api.post("/v1/devices", json=body), "challenge-unknown")
    challenge(api)  # which clears away what has expired
    assert len(api.get("/v1/devices").json()["items"]) == 1


def test_a_known_device_is_brought_up_to_date(sqlite_api, enrol) -> None:
    first = enrol(sqlite_api, 1, "old name")
    second = enrol(sqlite_api, 1, "new name")
    assert second == first | {"label": "new name"}
    assert len(sqlite_api.get("/v1/devices").json()["items"]) == 1


# ---- licenses ----


def test_unknown_models_devices_and_licenses(sqlite_api, enrol) -> None:
    device_id = enrol(sqlite_api, 1)["device_id"]
    for body in (
        {"model": "nothing", "device_id": device_id},
        {"model": MODEL_NAME, "device_id": NOBODY},
    ):
        refused(sqlite_api.post("/v1/licenses", json=body), "not-found")
    none = "0" * 32
    for method, path, body in (
        ("GET", f"/v1/devices/{NOBODY}", None),
        ("GET", f"/v1/licenses/{none}", None),
        ("GET", "/v1/licenses/%00", None),
        ("GET", f"/v1/licenses/{none}/content", None),
        ("POST", f"/v1/licenses/{none}/renew", {}),
        ("POST", "/v1/revocations", {"license_id": none}),
        ("POST", "/v1/revocations", {"device_id": NOBODY}),
        ("POST", "/v1/revocations", {"model": "nothing"}),
        ("GET", "/v1/nothing", None),
        ("GET", "/problems/nothing", None),
    ):
        refused(sqlite_api.request(method, path, json=body), "not-found")
    refused(sqlite_api.delete("/v1/licenses"), "method-not-allowed")


@pytest.mark.parametrize(
    ("terms", "where"),
    [
        ({"expires": -1}, "body.terms.expires"),
        ({"expires": 1 << 32}, "body.terms.expires"),
        ({"expires": "soon"}, "body.terms.expires"),
        ({"expires": 1.0}, "body.terms.expires"),
        ({"max_inferences": 0}, "body.terms.max_inferences"),
        ({"rate": [0, 1]}, "body.terms.rate.0"),
        ({"rate": [1]}, "body.terms.rate.1"),
        ({"grace_seconds": 5}, "body.terms"),
        ({"colour": 1}, "body.terms.colour"),
        ({"features": 4}, "body.terms.features"),
        ([], "body.terms"),
    ],
)
def test_conditions_that_cannot_be(
    sqlite_api, enrol, terms: object, where: str
) -> None:
    body = {"model": MODEL_NAME, "device_id": DEVICE.device_id, "terms": terms}
    value = refused(sqlite_api.post("/v1/licenses", json=body), "malformed-request")
    assert where in [item["where"] for item in value["errors"]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 20000,
        b'{"model": "\\ud800", "device_id": 1}',
        b"\xff\xfe",
        b'{"model": "m\\u0000", "device_id": "' + b"0" * 64 + b'"}',
        b'{"model": "m", "device_id": "' + b"0" * 64 + b'", "more": 1}',
    ],
)
def test_bodies_that_are_no_request(sqlite_api, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = sqlite_api.post("/v1/licenses", content=body, headers=headers)
    refused(answer, "malformed-request")


def test_bodies_that_are_too_large(sqlite_api) -> None:
    answer = sqlite_api.post("/v1/licenses", content=b" " * (MAX_BODY_BYTES + 1))
    assert str(MAX_BODY_BYTES) in refused(answer, "too-large")["detail"]

    def chunks():
        for _ in range(MAX_BODY_BYTES // 1000 + 2):
            yield b" " * 1000

    refused(sqlite_api.post("/v1/licenses", content=chunks()), "too-large")


def test_idempotency_keys_that_are_none(sqlite_api) -> None:
    body = {"model": MODEL_NAME, "device_id": NOBODY}
    for key in ("x" * 256, "a\tb"):
        headers = {"Idempotency-Key": key}
        answer = sqlite_api.post("/v1/licenses", json=body, headers=headers)
        refused(answer, "malformed-request")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": "because"},
        {"license_id": "0" * 32, "model": "m"},
        {"license_id": "0" * 31},
        {"device_id": "zz"},
        {"model": "m", "reason": "a\nb"},
    ],
)
def test_revocations_of_nothing_in_particular(sqlite_api, body: object) -> None:
    refused(sqlite_api.post("/v1/revocations", json=body), "malformed-request")


def test_a_list_with_errors_names_each_line_and_issues_nothing(
    sqlite_api, enrol, tmp_path
) -> None:
    enrol(sqlite_api, 1)
    enrol(sqlite_api, 2)
    other = PlayedDevice.number(2).device_id
    # On this machine there is such a file; a list that came over HTTP names none.
    (tmp_path / "device.cert").write_bytes(b"")
    lines = [
        "device,max_inferences",
        DEVICE.device_id + ",",
        DEVICE.public.raw.hex() + ",",
        NOBODY + ",",
        f"{other},many",
        f"{other},0",
        f"{tmp_path}/device.cert,",
        ",,,",
        f"{other},9",
    ]
    url = f"/v1/licenses/list?model={MODEL_NAME}"
    value = refused(sqlite_api.post(url, content="\n".join(lines)), "malformed-list")
    assert [item["line"] for item in value["errors"]] == [3, 4, 5, 6, 7, 8, 9]
    assert "the same device as in line 2" in value["errors"][0]["detail"]
    assert "is enrolled" in value["errors"][4]["detail"]
    assert sqlite_api.get("/v1/licenses").json()["items"] == []

    lines.pop()
    partial = sqlite_api.post(f"{url}&partial=true", content="\n".join(lines)).json()
    assert partial["issued"] == 1
    assert [item["line"] for item in partial["problems"]] == [3, 4, 5, 6, 7, 8]
    for body in (b"", b"colour\n1", b"\0\xff", b"device,device\n"):
        refused(sqlite_api.post(url, content=body), "malformed-request")
    refused(
        sqlite_api.post("/v1/licenses/list?model=nothing", content="device\n"),
        "not-found",
    )
    refused(
        sqlite_api.post("/v1/licenses/list", content="device\n"), "malformed-request"
    )


def test_a_list_has_a_largest_size(sqlite_api, enrol, monkeypatch) -> None:
    import undercroft._provider.device_list as module

    enrol(sqlite_api, 1)
    enrol(sqlite_api, 2)
    monkeypatch.setattr(module, "MAX_LIST_DEVICES", 1)
    text = f"device\n{DEVICE.device_id}\n{PlayedDevice.number(2).device_id}\n"
    url = f"/v1/licenses/list?model={MODEL_NAME}"
    refused(sqlite_api.post(url, content=text), "too-large")
    assert MAX_LIST_DEVICES * 65 < 1 << 20


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=200))
def test_any_list_is_answered(sqlite_api, data: bytes) -> None:
    url = f"/v1/licenses/list?model={MODEL_NAME}"
    answer = sqlite_api.post(url, content=b"device,rate\n" + data)
    assert answer.status_code in {200, 422}


# ---- keys and files ----


def test_a_content_key_that_others_can_read_is_not_used(
    sqlite_folder, sqlite_api, enrol, caplog
) -> None:
    device_id = enrol(sqlite_api, 1)["device_id"]
    path = sqlite_folder.config.parent / "model-keys" / f"{MODEL_ID}.key"
    path.chmod(0o644)
    body = {"model": MODEL_NAME, "device_id": device_id}
    headers = {"Idempotency-Key": "k"}
    answer = sqlite_api.post("/v1/licenses", json=body, headers=headers)
    value = refused(answer, "key-unavailable")
    assert answer.headers["retry-after"]
    assert str(path) not in answer.text
    assert f"chmod 600 {path}" in caplog.text
    assert "nothing was issued" in value["title"]
    assert sqlite_api.get("/v1/licenses").json()["items"] == []
    path.chmod(0o600)
    answer = sqlite_api.post("/v1/licenses", json=body, headers=headers)
    assert answer.status_code == 201


def test_a_clock_that_is_far_off_tells_devices_nothing(
    sqlite_api, enrol, monkeypatch
) -> None:
    from undercroft import _clock

    device_id = enrol(sqlite_api, 1)["device_id"]
    body = {"model": MODEL_NAME, "device_id": device_id}
    monkeypatch.setattr(_clock.time, "time", lambda: 1000.0)
    for method, path, content in (
        ("POST", "/v1/licenses", body),
        ("POST", "/v1/revocations", body),
        ("GET", "/v1/updates", None),
    ):
        answer = sqlite_api.request(method, path, json=content)
        refused(answer, "clock-off")
        assert answer.headers["retry-after"] == "60"
    monkeypatch.undo()
    assert sqlite_api.get("/v1/licenses").json()["items"] == []
    assert sqlite_api.get("/v1/revocations").json()["items"] == []


def test_the_documents_name_every_problem(sqlite_api) -> None:
    text = (Path(__file__).parents[2] / "docs" / "provider.md").read_text()
    shown = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (.+) \|$", text, re.MULTILINE)
    assert shown == [
        (name, str(int(kind.status)), kind.title) for name, kind in PROBLEMS.items()
    ]
    for name, kind in PROBLEMS.items():
        answer = sqlite_api.get(f"/problems/{name}")
        assert kind.advice in answer.text


def test_a_fault_inside_tells_nothing(sqlite_api, monkeypatch) -> None:
    from undercroft._provider import listing

    def fail(_: object) -> None:
        raise RuntimeError("secret path")

    monkeypatch.setattr(listing, "models", fail)
    answer = sqlite_api.get("/v1/models")
    refused(answer, "fault")
    assert "secret" not in answer.text
