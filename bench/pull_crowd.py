"""Many pulls through one daemon at once: its memory, and whether any fails."""

import argparse
import asyncio
import contextlib
import hashlib
import resource
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from engines.images import CONFIG, Blob, Pusher, artifact
from engines.registries import Registry
from engines.swarm import Daemon, a_swarm, settings_of
from pull_parts import MB, MIB, Skopeo, a_registry, an_image, at_most, forget_peak, line, peak_bytes

PULL_MB = 20
MEMORY_LIMIT_MB = 250


def crowd(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the numbers."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-")))
        registry = stack.enter_context(a_registry(folder, "127.0.0.1:0"))
        swarm = stack.enter_context(a_swarm(folder / "swarm", settings_of(registry)))
        daemon = swarm.daemon("host")
        yield line("memory of the daemon, idle", peak_bytes(daemon.pid) / MB, "MB")
        yield from _pulls(arguments.pulls, registry, daemon, folder)
        forget_peak(daemon.pid)
        yield from _requests(arguments.requests, registry, daemon)


def _pulls(count: int, registry: Registry, daemon: Daemon, folder: Path) -> Iterator[str]:
    pusher = Pusher(registry.url)
    for number in range(count):
        pusher.push(f"bench/{number}", ["v1"], an_image(f"crowd-{number}", total_mb=PULL_MB))
    pusher.close()
    engines = [
        Skopeo(folder / f"engine-{number}", registry=registry.host, mirror=daemon.proxy)
        for number in range(count)
    ]
    begun_s = time.perf_counter()
    running = [
        subprocess.Popen(engine.command(f"{registry.host}/bench/{number}:v1"))
        for number, engine in enumerate(engines)
    ]
    failed = sum(process.wait() != 0 for process in running)
    seconds = time.perf_counter() - begun_s
    what = f"{count} pulls at once of {PULL_MB} MB each"
    yield line(f"{what}, all different", seconds, "s")
    yield at_most("of them failed", failed, 0)
    peak = peak_bytes(daemon.pid) / MB
    yield at_most("memory of the daemon, at most", peak, MEMORY_LIMIT_MB, "MB")


def _requests(count: int, registry: Registry, daemon: Daemon) -> Iterator[str]:
    blob = Blob("application/octet-stream", bytes(range(256)) * (MIB // 256))
    pusher = Pusher(registry.url)
    pusher.push("bench/blob", [], artifact(Blob(CONFIG, b"{}"), blob))
    pusher.close()
    url = f"http://{daemon.proxy}/v2/bench/blob/blobs/{blob.digest}?ns={registry.host}"
    begun_s = time.perf_counter()
    results = asyncio.run(_ask(url, count, blob.digest))
    seconds = time.perf_counter() - begun_s
    faults = Counter({what: number for what, number in results.items() if what != "right"})
    yield line(f"{count} requests at once for a blob of 1 MiB, cold", seconds, "s")
    named = "".join(f" [{number} times {what}]" for what, number in faults.most_common(3))
    yield at_most(f"of them failed{named}", faults.total(), 0)
    reads = len(registry.requests.of("GET", blob.digest))
    yield at_most("GETs of the blob at the registry", reads, 1)
    yield line("memory of the daemon, at most", peak_bytes(daemon.pid) / MB, "MB")


async def _ask(url: str, count: int, digest: str) -> Counter[str]:
    """Return {what came of a request: how often}."""
    results: Counter[str] = Counter()

    async def ask(session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(url) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            results[type(exc).__name__] += 1
            return
        is_right = f"sha256:{hashlib.sha256(body).hexdigest()}" == digest
        results["right" if is_right else f"{answer.status}, {len(body)} bytes"] += 1

    timeout = aiohttp.ClientTimeout(total=120)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=timeout, auto_decompress=False
        ) as session,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(count):
            tasks.create_task(ask(session))
    return results
