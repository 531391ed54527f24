# SPDX-License-Identifier: Apache-2.0
"""The service's good ways, on SQLite and on PostgreSQL."""

from __future__ import annotations

import base64
import time

from helpers.attesting import PlayedDevice
from helpers.license_service import ACME, MODEL, MODEL_ID, MODEL_NAME, PROVIDER
from undercroft.license import License, LicenseTerms
from undercroft.update import Update


def issue(api, device_id: str, key: str | None = None, **terms: object):
    body = {"model": MODEL_NAME, "device_id": device_id, "terms": terms}
    headers = {"Idempotency-Key": key} if key else {}
    return api.post("/v1/licenses", json=body, headers=headers)


def test_a_device_enrols_and_gets_a_license_that_opens_for_it_alone(api, enrol) -> None:
    device = PlayedDevice.number(1)
    facts = enrol(api, 1, "bench 3")
    assert facts["device_id"] == device.device_id
    assert facts["label"] == "bench 3"
    assert facts["endorsed"] is True
    assert facts["evidence"]["build"] == "release"

    ends = int(time.time()) + 1000
    answer = issue(api, device.device_id, expires=ends, rate=[10, 60], features=3)
    assert answer.status_code == 201
    value = answer.json()
    permit = License.parse(base64.b64decode(value["license"]))
    permit.verify(PROVIDER.public())
    assert permit.claims.license_id.hex() == value["license_id"]
    assert permit.claims.device_id.hex() == device.device_id
    assert permit.claims.model_id.hex() == value["model_id"] == MODEL_ID
    assert permit.claims.terms == LicenseTerms(expires=ends, rate=(10, 60), features=3)
    assert device.unwrap(permit.claims.wrapped_key) == MODEL.content_key

    url = f"/v1/licenses/{value['license_id']}"
    assert api.get(f"{url}/content").content == permit.data
    assert api.get(url).json() == value
    assert [row["license_id"] for row in api.get("/v1/licenses").json()["items"]] == [
        value["license_id"]
    ]
    assert api.get("/v1/models").json()["items"] == [
        {
            "model_id": MODEL_ID,
            "name": MODEL_NAME,
            "current_licenses": 1,
            "added_at": api.get("/v1/models").json()["items"][0]["added_at"],
        }
    ]


def test_a_request_sent_again_finds_the_same_license(api, enrol) -> None:
    device_id = enrol(api, 1)["device_id"]
    first = issue(api, device_id, "a")
    again = issue(api, device_id, "a")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    other = issue(api, device_id, "a", max_inferences=5)
    assert other.status_code == 422
    assert other.json()["type"] == "/problems/idempotency-key-reused"
    second = issue(api, device_id, "b")
    assert second.status_code == 409
    assert second.json()["type"] == "/problems/license-exists"
    assert second.json()["license_id"] == first.json()["license_id"]
    assert len(api.get("/v1/licenses").json()["items"]) == 1


def test_renewing_supersedes_and_lasts_as_long_again(api, enrol) -> None:
    device_id = enrol(api, 1)["device_id"]
    ends = int(time.time()) + 5000
    old = issue(api, device_id, expires=ends, max_inferences=7).json()
    url = f"/v1/licenses/{old['license_id']}/renew"
    renewed = api.post(url, headers={"Idempotency-Key": "r"})
    assert renewed.status_code == 201
    new = renewed.json()
    assert new["terms"]["max_inferences"] == 7
    assert abs(new["terms"]["expires"] - new["issued_at"] - 5000) <= 2
    repeated = api.post(url, headers={"Idempotency-Key": "r"})
    assert (repeated.status_code, repeated.json()) == (200, new)
    refused = api.post(url)
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/license-ended"
    assert refused.json()["successor_id"] == new["license_id"]
    shown = api.get(f"/v1/licenses/{old['license_id']}").json()
    assert (shown["state"], shown["successor_id"]) == ("superseded", new["license_id"])
    changed = api.post(
        f"/v1/licenses/{new['license_id']}/renew", json={"terms": {"version_floor": 3}}
    )
    assert changed.json()["terms"] == {"version_floor": 3}


def test_what_is_revoked_is_in_the_updates_and_a_later_license_is_not(
    api, enrol
) -> None:
    first, second = (enrol(api, number)["device_id"] for number in (1, 2))
    revoked = issue(api, first).json()
    kept = issue(api, second).json()
    before = api.get("/v1/updates").json()
    assert before["version"] == 0
    assert Update.parse(base64.b64decode(before["updates"][0])).version is None

    body = {"license_id": revoked["license_id"], "reason": "returned"}
    (row,) = api.post("/v1/revocations", json=body).json()["revocations"]
    assert (row["version"], row["device_id"], row["reason"]) == (1, first, "returned")
    assert api.post("/v1/revocations", json=body).json()["revocations"] == [row]
    assert revoked["issued_at"] < row["issued_before"]
    states = {
        item["license_id"]: item["state"]
        for item in api.get("/v1/licenses").json()["items"]
    }
    assert states == {revoked["license_id"]: "revoked", kept["license_id"]: "current"}

    after = issue(api, first).json()
    assert after["issued_at"] >= row["issued_before"]
    (data,) = api.get("/v1/updates", params={"device_id": first}).json()["updates"]
    update = Update.parse(base64.b64decode(data))
    update.verify(PROVIDER.public())
    assert update.version == 1
    assert [
        (item.model_id.hex(), item.device_id.hex(), item.issued_before)
        for item in update.revocations
    ] == [(MODEL_ID, first, row["issued_before"])]
    (other,) = api.get("/v1/updates", params={"device_id": second}).json()["updates"]
    assert Update.parse(base64.b64decode(other)).revocations == ()
    assert Update.parse(base64.b64decode(other)).version == 1


def test_a_model_and_a_device_can_be_revoked_as_a_whole(api, enrol) -> None:
    first, second = (enrol(api, number)["device_id"] for number in (1, 2))
    issue(api, first)
    issue(api, second)
    answer = api.post("/v1/revocations", json={"model": MODEL_NAME})
    assert [row["device_id"] for row in answer.json()["revocations"]] == [None]
    assert {row["state"] for row in api.get("/v1/licenses").json()["items"]} == {
        "revoked"
    }
    assert issue(api, first).status_code == 201
    api.post("/v1/revocations", json={"device_id": first, "reason": "stolen"})
    refused = issue(api, first)
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/device-blocked"
    assert api.get(f"/v1/devices/{first}").json()["blocked_at"] is not None
    assert issue(api, second).status_code == 201
    versions = [row["version"] for row in api.get("/v1/revocations").json()["items"]]
    assert versions == [2, 1]

    device = PlayedDevice.number(1)
    nonce = api.post("/v1/challenges").json()["nonce"]
    back = api.post("/v1/devices", json=device.answer(nonce, device.endorsed_by(ACME)))
    assert back.json()["type"] == "/problems/device-blocked"


def test_lists_go_on_where_the_page_before_ended(api, enrol) -> None:
    ids = {
        issue(api, enrol(api, n)["device_id"]).json()["license_id"] for n in range(5)
    }
    for what, name in (("licenses", "license_id"), ("devices", "device_id")):
        seen: list[str] = []
        following = None
        while True:
            query = {"limit": 2} | ({"after": following} if following else {})
            page = api.get(f"/v1/{what}", params=query).json()
            seen += [item[name] for item in page["items"]]
            following = page["next"]
            if following is None:
                break
        assert len(seen) == len(set(seen)) == 5
        if what == "licenses":
            assert set(seen) == ids
    wanted = {"model": MODEL_NAME, "state": "current", "limit": 500}
    assert len(api.get("/v1/licenses", params=wanted).json()["items"]) == 5
    assert api.get("/v1/licenses", params={"model": "other"}).json()["items"] == []
    assert api.get("/v1/licenses", params={"after": "x"}).status_code == 400


def test_a_list_of_devices_gets_licenses_once(api, enrol) -> None:
    devices = [PlayedDevice.number(number) for number in (1, 2, 3)]
    for number in (1, 2, 3):
        enrol(api, number)
    had = issue(api, devices[1].device_id).json()
    lines = [
        "device,max_inferences",
        f"{devices[0].device_id},5",
        f"{devices[1].public.raw.hex()},",
        f"{devices[2].device_id.upper()},",
    ]
    url = f"/v1/licenses/list?model={MODEL_ID}"
    value = api.post(url, content="\n".join(lines)).json()
    assert (value["issued"], value["already"], value["problems"]) == (2, 1, [])
    assert [row["device_id"] for row in value["licenses"]] == [
        device.device_id for device in devices
    ]
    assert value["licenses"][1]["license_id"] == had["license_id"]
    permit = License.parse(base64.b64decode(value["licenses"][0]["license"]))
    assert permit.claims.terms.max_inferences == 5
    again = api.post(url, content="\n".join(lines)).json()
    assert (again["issued"], again["already"]) == (0, 3)
    assert again["licenses"] == value["licenses"]


def test_the_audit_log_has_what_was_done_and_refused(api, enrol) -> None:
    device_id = enrol(api, 1)["device_id"]
    license_id = issue(api, device_id).json()["license_id"]
    api.post("/v1/revocations", json={"license_id": license_id})
    nonce = api.post("/v1/challenges").json()["nonce"]
    api.post("/v1/devices", json=PlayedDevice.number(2).answer(nonce))
    entries = api.get("/v1/audit").json()["items"]
    assert [(row["action"], row["outcome"]) for row in entries] == [
        ("enrol", "refused"),
        ("revoke", "done"),
        ("issue", "done"),
        ("enrol", "done"),
        ("api-key-create", "done"),
        ("model-add", "done"),
    ]
    assert entries[0]["detail"]["checks"] == [6]
    assert entries[0]["subject"] == PlayedDevice.number(2).device_id
    assert entries[2]["subject"] == license_id
    assert entries[2]["key_id"] == entries[3]["key_id"] is not None
