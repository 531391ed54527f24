# SPDX-License-Identifier: Apache-2.0
"""Many clients that ask a license service for many licenses, and do not behave.

Of the requests some are cut off before the answer is read and sent again, and some
are made by two clients at the same time, each with an Idempotency-Key of its own.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from helpers.attesting import PlayedDevice
from helpers.license_service import ACME

CLIENTS = 8
CUT_OFF = 0.01
TWICE = 0.02
_PATIENCE_SECONDS = 300


@dataclass
class Outcome:
    """What the clients saw.

    Attributes:
        received: the license id that was answered for a device and model.
        again: requests that were sent again, by reason.
    """

    received: dict[tuple[str, str], str] = field(default_factory=dict)
    again: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class _Client:
    """One client, with one connection."""

    def __init__(self, url: str, api_key: str, outcome: Outcome, seed: int) -> None:
        self._address = url.removeprefix("http://")
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/json",
        }
        self._http = http.client.HTTPConnection(self._address, timeout=60)
        self._outcome = outcome
        self._chance = random.Random(seed)

    def enrol(self, number: int) -> str:
        device = PlayedDevice.number(number)
        nonce = self._settle("/v1/challenges", None, "")[1]["nonce"]
        body = device.answer(nonce, device.endorsed_by(ACME))
        status, value = self._settle("/v1/devices", body, "")
        assert status in {200, 201}, value
        return device.device_id

    def issue(self, model: str, device_id: str, key: str) -> None:
        body = {"model": model, "device_id": device_id}
        status, value = self._settle("/v1/licenses", body, key)
        assert status in {200, 201, 409}, value
        if status == 409:
            assert value["type"] == "/problems/license-exists"
        pair = (device_id, model)
        first = self._outcome.received.setdefault(pair, value["license_id"])
        assert first == value["license_id"], "two licenses for one device and model"

    def _settle(self, path: str, body: object, key: str) -> tuple[int, dict[str, Any]]:
        """Send a request until it is answered by something else than 'later'."""
        ends = time.monotonic() + _PATIENCE_SECONDS
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        data = json.dumps(body).encode() if body is not None else b""
        if key and self._chance.random() < CUT_OFF:
            self._http.request("POST", path, data, headers)
            time.sleep(self._chance.random() * 0.03)
            self._http.close()
            self._count("cut off")
        while True:
            try:
                self._http.request("POST", path, data, headers)
                answer = self._http.getresponse()
                value = json.loads(answer.read())
            except (OSError, http.client.HTTPException) as error:
                self._http.close()
                self._count(type(error).__name__)
            else:
                if answer.status != 503:
                    return answer.status, value
                assert value["type"] == "/problems/database-unavailable", value
                assert answer.headers["retry-after"]
                self._count("503")
            assert time.monotonic() < ends, "the service does not come back"
            time.sleep(0.2)

    def _count(self, reason: str) -> None:
        again = self._outcome.again
        again[reason] = again.get(reason, 0) + 1


def run_load(
    url: str,
    api_key: str,
    *,
    devices: int,
    models: list[str],
    in_the_middle: Callable[[], None],
) -> Outcome:
    """Enrol devices and issue a license of each model to each of them.

    Args:
        url: of the service.
        api_key: which may enrol and issue.
        devices: how many.
        models: ids.
        in_the_middle: is called when half of the licenses are out, while the clients
            go on.
    """
    outcome = Outcome()
    clients = [_Client(url, api_key, outcome, seed) for seed in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        parts = [range(first, devices, CLIENTS) for first in range(CLIENTS)]
        enrolled = pool.map(
            lambda client, part: [client.enrol(number) for number in part],
            clients,
            parts,
        )
        ids = [device_id for part in enrolled for device_id in part]
        work = _work(ids, models)
        middle = threading.Thread(
            target=_call_in_the_middle,
            args=(outcome, len(ids) * len(models) // 2, in_the_middle),
        )
        began = time.perf_counter()
        middle.start()
        for done in [pool.submit(_do, client, work) for client in clients]:
            done.result()
        outcome.seconds = time.perf_counter() - began
        middle.join(timeout=60)
        assert not middle.is_alive()
    return outcome


class _Shared(Iterator[tuple[str, str, str]]):
    """An iterator for several threads."""

    def __init__(self, items: Iterator[tuple[str, str, str]]) -> None:
        self._items = items
        self._turn = threading.Lock()

    def __next__(self) -> tuple[str, str, str]:
        with self._turn:
            return next(self._items)


def _work(ids: list[str], models: list[str]) -> _Shared:
    chance = random.Random(1)

    def items() -> Iterator[tuple[str, str, str]]:
        for model in models:
            for device_id in ids:
                yield model, device_id, f"{model}-{device_id}"
                if chance.random() < TWICE:
                    yield model, device_id, f"{model}-{device_id}-other"

    return _Shared(items())


def _do(client: _Client, work: _Shared) -> None:
    for model, device_id, key in work:
        client.issue(model, device_id, key)


def _call_in_the_middle(
    outcome: Outcome, licenses: int, call: Callable[[], None]
) -> None:
    while len(outcome.received) < licenses:
        time.sleep(0.01)
    call()
