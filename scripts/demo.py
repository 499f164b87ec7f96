"""A small swarm on this machine: a source, a SuperNode, daemons, one file to all of them.

All of them are real processes on loopback, in a temporary folder; nothing is left behind.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from rich.console import Console
from rich.live import Live
from rich.table import Table

BIN = Path(sys.executable).parent
START_S = 60.0
BAR_CELLS = 20  # the table fits into 80 columns
SENT_MAX = 1.1


@dataclass
class Host:
    """A daemon, and the dfget that asks it."""

    name: str
    socket: str
    address: str
    output: Path
    got: dict[str, float] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def received(self) -> float:
        """Bytes so far."""
        return sum(self.got.values())


@contextlib.asynccontextmanager
async def program(*command: str, ready: str, log: Path) -> AsyncIterator[re.Match[str]]:
    """Run a program inside the block; gives what its ready line matched."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=errors, start_new_session=True
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            line = (await process.stdout.readline()).decode()
        found = re.search(ready, line)
        if not found:
            told = log.read_bytes()[-2000:].decode(errors="replace")  # noqa: ASYNC240
            raise SystemExit(f"{command[0]} did not start: {line} {told}")
        yield found
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def dfget(host: Host, url: str) -> None:
    """Download through a host's daemon."""
    process = await asyncio.create_subprocess_exec(
        *(str(BIN / "dfget"), url, "-O", str(host.output), "--socket", host.socket),
        *("--json", "--quiet"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    host.result = json.loads(out)


def read_json(url: str) -> dict[str, Any]:
    """Return what a server of the demo answers."""
    with urlopen(url, timeout=10) as answer:
        loaded: dict[str, Any] = json.load(answer)
        return loaded


def read_received(host: Host) -> None:
    """Ask a daemon what it has received, by provider."""
    with (
        contextlib.suppress(OSError),
        urlopen(f"http://{host.address}/metrics", timeout=2) as answer,
    ):
        text = answer.read().decode()
        pattern = r'^damselfly_bytes_received_total\{provider="(\w+)"\} (\S+)'
        found = re.findall(pattern, text, re.MULTILINE)
        host.got = {provider: float(count) for provider, count in found}


def table(hosts: list[Host], size: int, seconds: float) -> Table:
    """Return the table of the moment."""
    shown = Table(title=f"{size / 1e6:.0f} MB to {len(hosts)} hosts, {seconds:.1f} s")
    for title in ("host", "done", "", "peers MB", "SuperNode MB", "source MB"):
        shown.add_column(title, justify="left" if title in ("host", "") else "right")
    for host in hosts:
        share = min(host.received / size, 1.0)
        cells = round(BAR_CELLS * share)
        bar = "[green]" + "━" * cells + "[/][grey30]" + "━" * (BAR_CELLS - cells) + "[/]"
        counts = (host.got.get(name, 0.0) for name in ("peers", "supernode", "source"))
        shown.add_row(host.name, f"{share:.0%}", bar, *(f"{count / 1e6:.1f}" for count in counts))
    return shown


async def watch(hosts: list[Host], size: int, console: Console, started_s: float) -> None:
    """Draw the table until cancelled; only on a terminal."""
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while True:
            for host in hosts:
                await asyncio.to_thread(read_received, host)
            live.update(table(hosts, size, time.perf_counter() - started_s))
            await asyncio.sleep(0.2)


def sha256_of(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def demo(count: int, size: int, folder: Path) -> bool:
    """Run the swarm; say whether all was as it should be."""
    console = Console()
    async with contextlib.AsyncExitStack() as stack:
        console.print("starting a file server, a SuperNode and", count, "daemons")
        script = str(Path(__file__).parent / "file_server.py")
        found = await stack.enter_async_context(
            program(
                sys.executable, script, "--size", str(size), ready="(http.*)", log=folder / "source"
            )
        )
        url = found[1]
        found = await stack.enter_async_context(
            program(
                *(str(BIN / "damselfly"), "supernode", "--listen", "127.0.0.1:0"),
                *("--data", str(folder / "supernode"), "--log-level", "warning"),
                ready="listens on (.*)",
                log=folder / "supernode.log",
            )
        )
        supernode = found[1]

        async def daemon(number: int) -> Host:
            data = folder / f"host-{number}"
            found = await stack.enter_async_context(
                program(
                    *(str(BIN / "damselfly"), "daemon", "--supernode", supernode),
                    *("--listen", "127.0.0.1:0", "--data", str(data), "--log-level", "warning"),
                    *("--proxy", "off"),
                    *("--location", f"demo/rack-{number % 2}"),
                    ready="listens on (\\S+) and (.*)",
                    log=folder / f"host-{number}.log",
                )
            )
            output = folder / f"output-{number}"
            return Host(f"host-{number}", found[2].strip(), found[1], output)

        hosts = [await daemon(number) for number in range(1, count + 1)]
        started_s = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch(hosts, size, console, started_s))
            async with asyncio.TaskGroup() as downloads:
                for host in hosts:
                    downloads.create_task(dfget(host, url))
            seconds = time.perf_counter() - started_s
            watching.cancel()
        for host in hosts:
            read_received(host)
        console.print(table(hosts, size, seconds))
        stats = read_json(url.replace("/file", "/stats"))
    return summary(console, hosts, size, seconds, stats)


def summary(
    console: Console, hosts: list[Host], size: int, seconds: float, stats: dict[str, Any]
) -> bool:
    """Print what came of it; say whether all was as it should be."""
    failures = [
        f"{host.name}: {host.result['message']}" for host in hosts if "error" in host.result
    ]
    digests = {sha256_of(host.output) for host in hosts if host.output.exists()}
    from_peers = sum(host.got.get("peers", 0.0) for host in hosts) / (size * len(hosts))
    asked = ", ".join(f"{number} {method}" for method, number in stats["requests"].items())
    console.print(f"{seconds:.1f} s for {len(hosts)} x {size / 1e6:.0f} MB;", end=" ")
    console.print(f"{from_peers:.0%} of the bytes came from peers")
    console.print(f"source: {asked}, {stats['sent_bytes'] / size:.2f} x the file")
    is_same = len(digests) == 1 and not failures
    told = f"all equal, sha256:{digests.pop()}" if is_same else "NOT EQUAL"
    console.print(f"digests: {told}", soft_wrap=True)
    for failure in failures:
        console.print(failure)
    # Of an answer that is left for several, some megabytes are on their way; see decision 0040.
    return is_same and stats["sent_bytes"] < SENT_MAX * size


def main() -> None:
    """Run the demo; exit code 1 when something was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--size", type=int, default=256, help="MiB")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="damselfly-demo-") as folder:
        try:
            is_right = asyncio.run(demo(arguments.hosts, arguments.size << 20, Path(folder)))
        except KeyboardInterrupt:
            sys.exit(130)
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
