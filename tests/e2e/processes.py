"""Real processes for tests: SuperNode, daemons and dfget on loopback, in a folder of their own."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
START_S = 30.0


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.out)
        return loaded


class Running:
    """A SuperNode or a daemon.

    Attributes:
        address: On which it listens for other hosts.
        socket: Of a daemon, for dfget.
        proxy: Of a daemon, on which it listens for container engines.
    """

    def __init__(self, process: asyncio.subprocess.Process, line: str, log: Path) -> None:
        self._process = process
        self.log = log
        # `daemon listens on A and SOCKET, proxy on B`, or less
        words = line.replace(",", "").split()
        self.address = words[words.index("on") + 1]
        self.proxy = words[-1] if "proxy" in words else ""
        self.socket = words[words.index("and") + 1] if "and" in words else ""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def kill(self) -> None:
        """SIGKILL it."""
        if self.is_running:
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM it, and return its exit code."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            return await self._process.wait()


class Site:
    """A folder with processes; all of them end with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[Running] = []
        self._count = 0

    async def _start(self, *command: str) -> Running:
        self._count += 1
        log = self.folder / f"log-{self._count}"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=errors
            )
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            line = (await process.stdout.readline()).decode()
        if not line:
            await process.wait()
            raise AssertionError(f"{command} did not start: {log.read_text()}")
        running = Running(process, line, log)
        self._running.append(running)
        return running

    async def supernode(
        self, *flags: str, listen: str = "127.0.0.1:0", disk_bytes: int = 0
    ) -> Running:
        """Start a SuperNode; with `disk_bytes` its data folder is a file system of that size."""
        data = self.folder / "supernode"
        command = (str(BIN / "damselfly"), "supernode", "--listen", listen, "--data", str(data))
        return await self._start_on(data, disk_bytes, *command, *flags)

    async def daemon(
        self,
        name: str,
        supernode: str,
        *flags: str,
        listen: str = "127.0.0.1:0",
        disk_bytes: int = 0,
    ) -> Running:
        """Start a daemon; with `disk_bytes` its data folder is a file system of that size."""
        data = self.folder / name
        command = (str(BIN / "damselfly"), "daemon", "--listen", listen, "--proxy", "127.0.0.1:0")
        where = ("--data", str(data), "--supernode", supernode)
        return await self._start_on(data, disk_bytes, *command, *where, *flags)

    async def _start_on(self, data: Path, disk_bytes: int, *command: str) -> Running:
        if not disk_bytes:
            return await self._start(*command)
        data.mkdir()
        script = f"mount -t tmpfs -o size={disk_bytes},mode=700 none {data} && exec "
        in_own_mounts = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
        return await self._start(*in_own_mounts, script + shlex.join(command))

    def path(self, name: str) -> Path:
        return self.folder / name

    async def close(self) -> None:
        for running in self._running:
            await running.kill()


@contextlib.asynccontextmanager
async def a_site(folder: Path) -> AsyncIterator[Site]:
    """Give a site whose processes end with the block."""
    site = Site(folder)
    try:
        yield site
    finally:
        await site.close()


async def run(*command: str, timeout_s: float = 50.0, env: dict[str, str] | None = None) -> Ended:
    """Run a program to its end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def damselfly(*arguments: str) -> Ended:
    return await run(str(BIN / "damselfly"), *arguments)


async def dfget(*arguments: str | Path, timeout_s: float = 50.0) -> Ended:
    command = (str(BIN / "dfget"), *(str(each) for each in arguments), "--json", "--quiet")
    return await run(*command, timeout_s=timeout_s)


async def has_blocks(folder: Path) -> None:
    """Wait until a cache has some blocks: what a source has sent may still be on the way."""
    async with asyncio.timeout(20):
        while not any(path.stat().st_size for path in folder.glob("editions/*/*/*/journal")):
            await asyncio.sleep(0.02)
