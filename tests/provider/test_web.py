# SPDX-License-Identifier: Apache-2.0
"""The web page, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from helpers.attesting import PlayedDevice
from helpers.browser import BrowserPage, browser
from helpers.license_service import (
    ACME,
    MODEL_ID,
    MODEL_NAME,
    ServiceFolder,
    listening_service,
    make_service,
)
from undercroft._provider.store import Store
from undercroft._provider.tables import Device, Model

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><b>bold</b>"
DEVICES = 60


def fill(url: str, folder: ServiceFolder) -> None:
    """Enrol devices, one of a hostile name; issue licenses, and revoke one."""
    with httpx.Client(base_url=url, headers=folder.headers, timeout=60) as api:
        for number, label in ((0, "bench 0"), (1, "bench 1"), (2, HOSTILE)):
            device = PlayedDevice.number(number)
            nonce = api.post("/v1/challenges").json()["nonce"]
            body = device.answer(nonce, device.endorsed_by(ACME), label)
            assert api.post("/v1/devices", json=body).status_code == 201
        for number, terms in ((0, {"expires": 1}), (1, {"rate": [10, 60]}), (2, {})):
            body = {
                "model": MODEL_NAME,
                "device_id": PlayedDevice.number(number).device_id,
                "terms": terms,
            }
            assert api.post("/v1/licenses", json=body).status_code == 201
        lost = {"device_id": PlayedDevice.number(2).device_id, "reason": HOSTILE}
        assert api.post("/v1/revocations", json=lost).status_code == 200


def add_more(store: Store) -> None:
    """Put a model of a hostile name and further devices into the database."""
    with store.write() as session:
        session.add(Model(model_id="0" * 32, name="<i>model</i>", added_at=1))
        for number in range(3, DEVICES):
            session.add(
                Device(
                    device_id=f"{number:064x}",
                    public_key=f"{number:064x}",
                    label=f"bench {number}",
                    facts={"build": "release", "hardware_key": "unique"},
                    nonce="",
                    evidence=b"",
                    enrolled_at=number,
                )
            )


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[tuple[str, ServiceFolder]]:
    """A service that really listens, with something to show."""
    folder = make_service(tmp_path_factory.mktemp("web"))
    with listening_service(folder) as (url, service):
        add_more(service.store)
        fill(url, folder)
        yield url, folder


@pytest.fixture
def page(service) -> Iterator[BrowserPage]:
    """The page, before anybody has given a key."""
    with browser() as opened:
        opened.goto(service[0])
        yield opened


def log_in(page: BrowserPage, key: str) -> None:
    page.run(f"document.getElementById('key').value = {key!r}")
    page.run("document.getElementById('login').requestSubmit()")


def open_tab(page: BrowserPage, name: str) -> list[list[str]]:
    """Choose a tab; return the cells of its table."""
    page.run(f"document.getElementById('tab-{name}').click()")
    page.until(f"document.querySelectorAll('#{name} tbody tr').length > 0")
    cells = page.run(
        f"[...document.querySelectorAll('#{name} tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert isinstance(cells, list)
    return cells


def test_it_shows_models_devices_licenses_and_revocations(service, page) -> None:
    url, folder = service
    assert page.run("document.getElementById('tabs').hidden") is True
    log_in(page, folder.api_key)
    page.until("document.querySelectorAll('#models tbody tr').length === 2")
    assert page.run("document.getElementById('key').value") == ""

    rows = open_tab(page, "models")
    assert [row[:3] for row in rows] == [
        ["<i>model</i>", "0" * 32, "0"],
        [MODEL_NAME, MODEL_ID, "2"],
    ]
    rows = open_tab(page, "devices")
    assert len(rows) == 50
    page.run("document.querySelector('#devices button.more').click()")
    page.until(f"document.querySelectorAll('#devices tbody tr').length === {DEVICES}")
    assert page.run("document.querySelector('#devices button.more').hidden") is True
    rows = open_tab(page, "licenses")
    assert [(row[1], row[3], row[6]) for row in rows] == [
        (MODEL_NAME, "revoked", ""),
        (MODEL_NAME, "current", "10 in 60 s"),
        (MODEL_NAME, "expired", ""),
    ]
    rows = open_tab(page, "revocations")
    assert [(row[0], row[1], row[2], row[4]) for row in rows] == [
        ("1", MODEL_NAME, PlayedDevice.number(2).device_id, HOSTILE)
    ]
    assert (
        page.run(
            "[...document.querySelectorAll('section')].filter(s => !s.hidden).length"
        )
        == 1
    )
    assert page.requests
    assert all(request.startswith(url) for request in page.requests)
    assert page.messages == []


def test_nothing_that_is_shown_is_taken_for_html(service, page) -> None:
    _, folder = service
    log_in(page, folder.api_key)
    page.until("document.querySelectorAll('#models tbody tr').length === 2")
    page.run("document.getElementById('tab-devices').click()")
    page.until("document.querySelectorAll('#devices tbody tr').length >= 50")
    while page.run("document.querySelector('#devices button.more').hidden") is False:
        count = page.run("document.querySelectorAll('#devices tbody tr').length")
        page.run("document.querySelector('#devices button.more').click()")
        page.until(f"document.querySelectorAll('#devices tbody tr').length > {count}")
    shown = page.run(
        "[...document.querySelectorAll('td')].map(cell => cell.textContent)"
    )
    assert HOSTILE in shown
    assert page.run("document.querySelectorAll('main img, main b, main i').length") == 0
    assert page.run("document.title") == "Undercroft licenses"
    # Were the page careless, its policy would still stand in the way.
    blocked = page.run("document.body.innerHTML = '<b>x</b>'; 'done'")
    assert "TrustedHTML" in blocked
    script = (
        "const s = document.createElement('script'); s.textContent = 'window.x = 1'; "
    )
    page.run(script + "document.body.append(s)")
    assert page.run("window.x === undefined") is True
    refused = page.run(
        "fetch('https://example.invalid/').then(() => 'sent', () => 'no')"
    )
    assert refused == "no"
    assert any("Content Security Policy" in message for message in page.messages)


def test_it_says_why_it_shows_nothing(service, page) -> None:
    url, folder = service
    log_in(page, "uck_wrong")
    page.until("document.getElementById('message').className === 'error'")
    text = page.run("document.getElementById('message').textContent")
    assert text.startswith("The API key is unknown, expired or revoked.")
    assert page.run("document.getElementById('tabs').hidden") is True
    log_in(page, folder.new_key("issue"))
    page.until("document.getElementById('message').textContent.includes('the scope')")
    slow = folder.new_key("read", rate=(1, 3600))
    log_in(page, slow)
    page.until(
        "document.getElementById('message').textContent.includes('used up its rate')"
    )
    assert page.run("sessionStorage.length + localStorage.length") == 0
    assert page.run("document.cookie") == ""
    policy = httpx.get(url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert httpx.get(f"{url}/v1/health").headers["cache-control"] == "no-store"
