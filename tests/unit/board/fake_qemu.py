# SPDX-License-Identifier: Apache-2.0
"""A stand-in for QEMU: the same sockets, none of the emulation.

Run as `qemu-system-aarch64` with the real arguments, in the board's folder. The
variable FAKE_QEMU says what happens:

    up            boots, and an HTTP server answers as the agent
    no-agent      boots a payload without an agent
    die-early     says why on stderr and ends before it opens a socket
    die-booting   ends in the middle of the boot
    die-up        boots, and ends a moment later
    panic         Linux panics, then the machine ends
    no-tee        Linux finds no OP-TEE
    agent-ends    the agent ends while starting
    hang          prints a line and then nothing
    stubborn      boots, and ignores `quit`
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

LINUX = "[    0.000000] Booting Linux on physical CPU 0x0"
TEE = "undercroft-init: tee-ready"
AGENT = "undercroft-init: agent-starting"
CONSOLE = {
    "up": [LINUX, TEE, AGENT],
    "no-agent": [LINUX, TEE, "undercroft-init: agent-absent"],
    "die-booting": [LINUX, "the last words of the console"],
    "die-up": [LINUX, TEE, AGENT],
    "panic": [LINUX, "[    1.5] Kernel panic - not syncing: VFS: no root"],
    "no-tee": [LINUX, "undercroft-init: tee-missing"],
    "agent-ends": [LINUX, TEE, AGENT, "undercroft-init: agent-ended 1"],
    "hang": [LINUX, "still thinking"],
    "stubborn": [LINUX, TEE, AGENT],
}


class Agent(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        pass


def listen(name: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(name)
    server.listen(4)
    return server


def boot(scenario: str, console: socket.socket) -> None:
    if scenario == "agent-ends":
        Path("agent.log").write_text("ModuleNotFoundError: no module named 'x'\n")
    for line in CONSOLE[scenario]:
        data = line.encode() + b"\r\n"
        with Path("console.log").open("ab") as log:
            log.write(data)
        console.sendall(data)
    if scenario in ("die-booting", "panic"):
        time.sleep(0.1)
        print("qemu: terminating on a fault", file=sys.stderr, flush=True)
        os._exit(1)
    if scenario == "die-up":
        time.sleep(1.0)
        os._exit(1)


def terminal(server: socket.socket, scenario: str) -> None:
    """Show the boot to the first who connects; echo to the others."""
    connection, _ = server.accept()
    boot(scenario, connection)
    while True:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(4096):
                connection.sendall(b"board heard " + data)


def control(server: socket.socket) -> None:
    """Give every connection a shell, as the board does."""
    while True:
        connection, _ = server.accept()
        descriptor = connection.fileno()
        subprocess.run(
            ["sh"], stdin=descriptor, stdout=descriptor, stderr=descriptor, check=False
        )
        connection.close()


def main() -> None:
    scenario = os.environ.get("FAKE_QEMU", "up")
    Path("arguments.json").write_text(json.dumps(sys.argv[1:]))
    if scenario == "die-early":
        sys.exit("qemu: could not load firmware 'flash.bin'")
    forward = next(word for word in sys.argv if "hostfwd" in word)
    port = int(forward.split("127.0.0.1:")[1].split("-")[0])
    agent = http.server.ThreadingHTTPServer(("127.0.0.1", port), Agent)
    os.write(os.memfd_create("memory-backend-memfd"), b"the machine's memory")
    console_server, control_server = listen("console.sock"), listen("control.sock")
    threading.Thread(target=control, args=[control_server], daemon=True).start()
    qmp_server = listen("qmp.sock")
    while True:
        qmp, _ = qmp_server.accept()
        with qmp, qmp.makefile("rw") as stream:

            def say(message: object, stream: object = stream) -> None:
                stream.write(json.dumps(message) + "\n")  # type: ignore[attr-defined]
                stream.flush()  # type: ignore[attr-defined]

            say({"QMP": {"version": {}, "capabilities": []}})
            for line in stream:
                request = json.loads(line)
                match request["execute"]:
                    case "human-monitor-command":
                        row = (
                            "  TCP[HOST_FORWARD]  12       127.0.0.1 "
                            f"{agent.server_port}       10.0.2.15  8080     0     0"
                        )
                        say({"return": f"Hub -1 (net):\r\n{row}\r\n"})
                    case "cont":
                        say({"event": "RESUME"})
                        say({"return": {}})
                        threading.Thread(
                            target=terminal,
                            args=[console_server, scenario],
                            daemon=True,
                        ).start()
                        if scenario not in ("agent-ends", "hang"):
                            threading.Thread(
                                target=agent.serve_forever, daemon=True
                            ).start()
                    case "quit" if scenario != "stubborn":
                        say({"return": {}})
                        Path("quit").touch()
                        os._exit(0)
                    case "unknown":
                        say({"error": {"class": "CommandNotFound", "desc": "no"}})
                    case _:
                        say({"return": {}})


if __name__ == "__main__":
    main()
