"""SIGKILL of a random process every two seconds while many hosts download.

Each round starts a SuperNode, daemons and a file server, lets all hosts download a new file,
and kills one of SuperNode, daemons and dfgets every two seconds; what was killed is started
again, and a dfget that fails is run again, as a person would. At the end each output must be
whole and right; an output that exists at any moment and is wrong fails the round.

    python bench/chaos.py --rounds 20 --hosts 16
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import platform
import random
import re
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

BIN = Path(sys.executable).parent
RATE = "4MB"  # per host, so that a round takes long enough to be hit several times


class Part:
    """A SuperNode or a daemon, started again when it was killed."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.command, self.log = command, log
        self.process: asyncio.subprocess.Process | None = None
        self.line = ""

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as errors:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdout=asyncio.subprocess.PIPE, stderr=errors
            )
        assert self.process.stdout is not None
        self.line = (await self.process.stdout.readline()).decode()

    async def kill(self) -> None:
        """SIGKILL it."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Round:
    """One file to all hosts."""

    def __init__(self, folder: Path, hosts: int, size: int, rng: random.Random) -> None:
        self.folder, self.hosts, self.size, self.rng = folder, hosts, size, rng
        self.gets: dict[int, asyncio.subprocess.Process] = {}
        self.kills = self.retries = 0
        self.digest = ""

    async def run(self) -> None:
        """Run it; raises when an output is wrong."""
        script = str(Path(__file__).parents[1] / "scripts" / "file_server.py")
        seed = str(self.rng.randrange(1 << 30))
        server = Part(
            [sys.executable, script, "--size", str(self.size), "--seed", seed], self.folder / "log"
        )
        port = 20_000 + self.rng.randrange(10_000)
        address = f"127.0.0.1:{port}"
        supernode = Part(
            [
                *(str(BIN / "damselfly"), "supernode", "--listen", address, "--upload-rate", RATE),
                *("--data", str(self.folder / "supernode"), "--log-level", "error"),
            ],
            self.folder / "log",
        )
        daemons = [
            Part(
                [
                    *(str(BIN / "damselfly"), "daemon", "--supernode", address, "--log-level"),
                    *("error", "--listen", "127.0.0.1:0", "--upload-rate", RATE),
                    *("--proxy", "off", "--data"),
                    str(self.folder / f"host-{number}"),
                ],
                self.folder / "log",
            )
            for number in range(self.hosts)
        ]
        try:
            for part in (server, supernode, *daemons):
                await part.start()
            url = server.line.strip()
            self.digest = await asyncio.to_thread(self._expected, int(seed))
            async with asyncio.TaskGroup() as tasks:
                killing = tasks.create_task(self._kill([supernode, *daemons]))
                async with asyncio.TaskGroup() as getting:
                    for number in range(self.hosts):
                        getting.create_task(self._get(number, url))
                killing.cancel()
        finally:
            for part in (server, supernode, *daemons):
                await part.kill()

    def _expected(self, seed: int) -> str:
        rng, digest, left = random.Random(seed), hashlib.sha256(), self.size
        while left > 0:
            count = min(left, 4 << 20)
            digest.update(rng.randbytes(count))
            left -= count
        return digest.hexdigest()

    async def _get(self, number: int, url: str) -> None:
        output = self.folder / f"output-{number}"
        socket = str(self.folder / f"host-{number}" / "daemon.sock")
        while True:
            with (self.folder / "log").open("ab") as errors:
                process = await asyncio.create_subprocess_exec(
                    *(str(BIN / "dfget"), url, "-O", str(output), "--socket", socket, "--quiet"),
                    stderr=errors,
                )
            self.gets[number] = process
            code = await process.wait()
            del self.gets[number]
            if output.exists():
                found = hashlib.sha256(output.read_bytes()).hexdigest()
                if found != self.digest:
                    raise RuntimeError(f"{output} is wrong after exit code {code}")
            if code == 0:
                return
            self.retries += 1
            await asyncio.sleep(0.5)

    async def _kill(self, parts: list[Part]) -> None:
        while True:
            await asyncio.sleep(2)
            self.kills += 1
            number = self.rng.randrange(len(parts) + 1)
            if number == len(parts) and self.gets:
                with contextlib.suppress(ProcessLookupError):
                    self.rng.choice(list(self.gets.values())).kill()
                continue
            part = parts[min(number, len(parts) - 1)]
            await part.kill()
            await part.start()


async def rounds(arguments: argparse.Namespace) -> list[str]:
    """Run all rounds and return the lines of the result."""
    kernel = platform.release().split("-")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"
    what = f"{arguments.hosts} hosts, {arguments.size} MB, a SIGKILL every 2 s"
    lines = [f"{what}; {datetime.now(UTC):%Y-%m-%d}, {machine}"]
    print(lines[0], flush=True)
    for number in range(1, arguments.rounds + 1):
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            rng = random.Random(arguments.seed + number)
            one = Round(Path(folder), arguments.hosts, arguments.size * 1_000_000, rng)
            begun_s = time.monotonic()
            await one.run()
            seconds = time.monotonic() - begun_s
        told = re.sub(r"\s+", " ", f"round {number}: {seconds:.0f} s, {one.kills} kills,")
        lines.append(f"{told} {one.retries} dfgets run again, all {one.hosts} outputs right")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Run the rounds and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--hosts", type=int, default=16)
    parser.add_argument("--size", type=int, default=48, help="MB")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--result", type=Path, help="also write the lines to this file")
    arguments = parser.parse_args()
    lines = asyncio.run(rounds(arguments))
    if arguments.result:
        arguments.result.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
