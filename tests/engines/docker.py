"""A dockerd of one's own, spoken to by its API, so that no client's version matters."""

import asyncio
import base64
import json
import socket
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from e2e.processes import Ended
from engines.programs import Program

API = "/v1.41"
PULL_S = 50.0


class Docker:
    """dockerd with everything in a folder, whose path must be short: sockets lie in it."""

    def __init__(
        self, folder: Path, *, mirror: str = "", env: Mapping[str, str] | None = None
    ) -> None:
        self._socket = folder / "d.sock"
        folder.mkdir(parents=True)
        config = folder / "daemon.json"
        settings = {
            "data-root": f"{folder}/data",
            "exec-root": f"{folder}/exec",
            "pidfile": f"{folder}/pid",
            "hosts": [f"unix://{self._socket}"],
            "registry-mirrors": [mirror] if mirror else [],
            "iptables": False,
            "ip6tables": False,
            "bridge": "none",
            "ip-forward": False,
            "ip-masq": False,
        }
        config.write_text(json.dumps(settings))
        command = ["dockerd", "--config-file", str(config)]
        self._program = Program(command, folder, env=env)
        self._program.wait_ready(lambda: b"API listen on" in self._program.err.read_bytes() or None)

    async def pull(self, reference: str, *, user: str = "") -> Ended:
        """Pull as `docker pull` does."""
        return await asyncio.to_thread(self._pull, reference, user)

    def digests(self, reference: str) -> list[str]:
        """Return the digests under which it holds an image."""
        image = self._ask("GET", f"/images/{quote(reference)}/json")
        return [each.partition("@")[2] for each in json.loads(image)["RepoDigests"]]

    def layers(self, reference: str) -> list[str]:
        """Return the digests of the unpacked layers of an image."""
        image = self._ask("GET", f"/images/{quote(reference)}/json")
        found: list[str] = json.loads(image)["RootFS"]["Layers"]
        return found

    def stop(self) -> None:
        self._program.stop()

    def _pull(self, reference: str, user: str) -> Ended:
        name, _, password = user.partition(":")
        auth = json.dumps({"username": name, "password": password}).encode()
        headers = {"X-Registry-Auth": base64.urlsafe_b64encode(auth).decode()} if user else {}
        answer = self._ask("POST", f"/images/create?{urlencode({'fromImage': reference})}", headers)
        lines: list[dict[str, Any]] = [json.loads(line) for line in answer.splitlines()]
        faults = [line.get("error") or line.get("message") for line in lines]
        said = "; ".join(fault for fault in faults if fault)
        return Ended(1 if said else 0, answer, said)

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> str:
        connection = _UnixConnection(self._socket)
        try:
            connection.request(method, API + path, headers=dict(headers or {}))
            return connection.getresponse().read().decode()
        finally:
            connection.close()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=PULL_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
