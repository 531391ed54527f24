# SPDX-License-Identifier: Apache-2.0
"""What Python seals and licenses, the engine's C opens; and nothing else."""

from __future__ import annotations

import pytest

from helpers.model_open import Request, open_models
from helpers.provider import Shipment, ship
from undercroft._format.pages import derive_page_key
from undercroft._spec import Status

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def shipment() -> Shipment:
    return ship()


def test_the_engine_opens_what_python_sealed_and_licensed(shipment):
    request = Request(shipment.header_bytes, shipment.license)
    (opened,) = open_models([request], device_private=shipment.device.private)
    header = shipment.header
    assert opened.status == Status.OK
    assert opened.page_key == derive_page_key(
        content_key=shipment.model_key.content_key,
        salt=header.salt,
        header=shipment.header_bytes,
    )
    assert opened.model_id == header.model_id
    assert opened.model_version == header.model_version
    assert opened.suite == header.suite
    assert opened.page_bytes == header.page_bytes
    assert opened.program_pages == header.program_pages
    assert opened.resident_pages == header.resident_pages
    assert opened.streamed_pages == header.streamed_pages
    assert opened.budget_bytes == header.budget_bytes
