"""A containerd of one's own: pulls by `ctr` and by its CRI plugin."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from e2e.processes import Ended, run
from engines.programs import Program
from engines.registries import NOWHERE, SomeRegistry
from engines.swarm import Daemon

_CONTENT = "io.containerd.content.v1.content/blobs/sha256"
CRI_S = 60.0


class Containerd:
    """containerd with its root in a folder, whose path must be short: a socket lies in it."""

    def __init__(self, folder: Path, *, env: Mapping[str, str] | None = None) -> None:
        self._root, self._socket = folder / "root", folder / "c.sock"
        self._hosts = folder / "certs.d"
        folder.mkdir(parents=True)
        config = folder / "config.toml"
        config.write_text(f"""
            version = 2
            root = "{self._root}"
            state = "{folder}/state"
            disabled_plugins = ["io.containerd.internal.v1.opt"]
            [grpc]
              address = "{self._socket}"
            [ttrpc]
              address = "{folder}/t.sock"
            [plugins."io.containerd.grpc.v1.cri".registry]
              config_path = "{self._hosts}"
            """)
        self._program = Program(["containerd", "--config", str(config)], folder, env=env)
        booted = b"containerd successfully booted"
        self._program.wait_ready(lambda: booted in self._program.err.read_bytes())

    @property
    def hosts_folder(self) -> Path:
        """Where it reads of registries."""
        return self._hosts

    def use(
        self, registry: SomeRegistry, daemon: Daemon | None = None, *, falls_back: bool = False
    ) -> None:
        """Tell it where a registry is, and of a daemon to ask instead, or only first."""
        server = registry.url if falls_back or not daemon else f"http://{NOWHERE}"
        lines = [f'server = "{server}"']
        # 1.6 refuses a file that has no host, so the registry is one.
        lines += [
            f'[host."{daemon.url if daemon else registry.url}"]',
            '  capabilities = ["pull", "resolve"]',
        ]
        if registry.ca_file and not daemon:
            lines.append(f'  ca = "{registry.ca_file}"')
        folder = self._hosts / registry.host
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.toml").write_text("\n".join(lines) + "\n")

    async def pull(self, reference: str, *, user: str = "", flags: Sequence[str] = ()) -> Ended:
        """Pull as `ctr images pull` does."""
        credentials = ("--user", user) if user else ()
        hosts = ("--hosts-dir", str(self._hosts))
        return await self._ctr("images", "pull", *hosts, *credentials, *flags, reference)

    async def fetch(self, reference: str) -> Ended:
        """Fetch everything that a manifest names, without unpacking it."""
        hosts = ("--hosts-dir", str(self._hosts))
        return await self._ctr("content", "fetch", *hosts, reference)

    async def cri_pull(self, reference: str, *, user: str = "") -> Ended:
        """Pull as the kubelet does; the output is the reply's image reference."""
        name, _, password = user.partition(":")
        request = _field(1, _field(1, reference.encode()))
        if user:
            request += _field(2, _field(1, name.encode()) + _field(2, password.encode()))

        def call() -> Ended:
            with grpc.insecure_channel(f"unix://{self._socket}") as channel:
                pull: Any = channel.unary_unary(
                    "/runtime.v1.ImageService/PullImage", _unchanged, _unchanged
                )
                try:
                    return Ended(0, pull(request, timeout=CRI_S).decode(errors="replace"), "")
                except grpc.RpcError as exc:
                    return Ended(1, "", str(exc))

        return await asyncio.to_thread(call)

    async def images(self, namespace: str = "default") -> dict[str, str]:
        """Return {reference: digest} of what was pulled."""
        ended = await self._ctr("-n", namespace, "images", "ls")
        rows = [line.split() for line in ended.out.splitlines()[1:]]
        return {row[0]: row[2] for row in rows}

    def blobs(self) -> set[str]:
        """Return the digests of what it holds, having read all of it."""
        paths = [*(self._root / _CONTENT).iterdir()] if (self._root / _CONTENT).exists() else []
        for path in paths:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        return {f"sha256:{path.name}" for path in paths}

    def stop(self) -> None:
        self._program.stop()

    async def _ctr(self, *arguments: str) -> Ended:
        return await run("ctr", "-a", str(self._socket), *arguments)


def _field(number: int, value: bytes) -> bytes:
    """Return a field of a protocol buffer: text, or a message; two such are all CRI needs."""
    assert len(value) < 1 << 14
    low, high = len(value) & 0x7F, len(value) >> 7
    length = bytes([low | 0x80, high]) if high else bytes([low])
    return bytes([number << 3 | 2]) + length + value


def _unchanged(message: bytes) -> bytes:
    return message
