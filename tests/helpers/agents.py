# SPDX-License-Identifier: Apache-2.0
"""Agents that really listen, in a thread of the test's process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from undercroft._device.agent import Agent, listen, make_server
from undercroft._device.base import Device


@contextmanager
def running_agent(device: Device, folder: Path) -> Iterator[str]:
    """Serve a device until the block ends; gives the agent's URL."""
    listener = listen("127.0.0.1", 0)
    server = make_server(Agent(device, folder))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()
        assert not thread.is_alive(), "the agent does not stop"
