"""A cold image on many hosts at once, each with a real engine, over shaped links."""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from engines.images import Image, Pusher
from engines.registries import Registry, Requests
from engines.swarm import Swarm, settings_of
from memory import use_memory
from network import SEED, Network, a_network
from pull_parts import MB, REPOSITORY, Skopeo, a_registry, an_image, at_most, line, size_of

REGISTRY_PORT, SUPERNODE_PORT, PEER_PORT = 5000, 8002, 65000
QUIET = ("--log-level", "warning")
COPIES_PER_HOST = 2  # the daemon's and the engine's
TIMEOUT_S = 900.0


def direct(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the numbers of pulls straight from the registry."""
    return _measure(arguments, is_direct=True)


def rollout(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the numbers of pulls through the daemons."""
    return _measure(arguments, is_direct=False)


def _measure(arguments: argparse.Namespace, *, is_direct: bool) -> Iterator[str]:
    made = an_image("rollout", total_mb=arguments.size)
    with (
        tempfile.TemporaryDirectory(prefix="pull-") as name,
        a_network(arguments.hosts, arguments.rate, arguments.rate) as network,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        registry = stack.enter_context(a_registry_at_the_seed(folder, network, made))
        mirrors = {} if is_direct else start_swarm(folder, network, registry, stack)
        size_mb = size_of(made) / MB
        yield f"{arguments.hosts} hosts, {arguments.rate} Mbit/s links, {size_mb:.0f} MB"
        use_memory(folder, COPIES_PER_HOST * arguments.hosts * size_of(made))
        yield from _numbers(network, registry, made, mirrors, folder)


@contextlib.contextmanager
def a_registry_at_the_seed(folder: Path, network: Network, made: Image) -> Iterator[Registry]:
    """Run a registry with an image where the network's seed is."""
    with a_registry(folder, "127.0.0.1:0") as beside:  # the network cannot be reached from here
        pusher = Pusher(beside.url)
        pusher.push(REPOSITORY, ["v1"], made)
        pusher.close()
    within = ("ip", "netns", "exec", network.space(SEED))
    with a_registry(folder, f"{network.address[SEED]}:{REGISTRY_PORT}", within) as registry:
        yield registry


def start_swarm(
    folder: Path, network: Network, registry: Registry, stack: contextlib.ExitStack
) -> dict[str, str]:
    """Start SuperNode and daemons; gives {host: address of its mirror}."""
    swarm = Swarm(
        folder,
        settings_of(registry),
        rate=network.rate_mbit * 125_000,
        listen=f"{network.address[SEED]}:{SUPERNODE_PORT}",
        within=("ip", "netns", "exec", network.space(SEED)),
    )
    stack.callback(swarm.close)
    return {
        name: swarm.daemon(
            name,
            *QUIET,
            listen=f"{network.address[name]}:{PEER_PORT}",
            within=("ip", "netns", "exec", network.space(name)),
        ).proxy
        for name in network.names
    }


def _numbers(
    network: Network, registry: Registry, made: Image, mirrors: dict[str, str], folder: Path
) -> Iterator[str]:
    reference = f"{registry.host}/{REPOSITORY}:v1"
    asked = len(registry.requests)
    cost, sent = network.usage(), network.counters()[SEED][0]
    seconds = _pull_all(network, registry, reference, made, mirrors, folder)
    seed_copies = (network.counters()[SEED][0] - sent) / size_of(made)
    cpu_s = network.usage().cpu_s - cost.cpu_s
    requests = Requests(registry.requests[asked:])
    hosts, size = len(network.names), size_of(made)
    link = network.rate_mbit * 125_000
    way = "through the daemon" if mirrors else "direct"
    yield line(f"cold, {way}: last host", max(seconds), "s")
    yield line(f"cold, {way}: median host", statistics.median(seconds), "s")
    yield line("copies of the image that left over the seed's link", seed_copies, "")
    if mirrors:
        bound_s = size / link  # of one link; all of them together are no limit
        yield at_most("last host ÷ fluid bound", max(seconds) / bound_s, 1.2)
        yield line("direct by the registry's link ÷ last host", hosts * bound_s / max(seconds), "")
    yield line("CPU of daemons and SuperNode" if mirrors else "CPU of the registry", cpu_s, "s")
    yield from _of_registry(requests, made, hosts if mirrors else 0)


def _of_registry(requests: Requests, made: Image, hosts: int) -> Iterator[str]:
    """Yield what the registry was asked; `hosts` is 0 when there is nothing promised."""
    blobs = requests.of("GET", "/blobs/sha256:")
    copies = blobs.sent_bytes / size_of(made)
    most = max(Counter(each.path for each in blobs).values(), default=0)
    tags = [each for each in requests if each.path.partition("?")[0].endswith("/manifests/v1")]
    by_digest = [each for each in requests if "/manifests/sha256:" in each.path]
    yield line("requests to the registry, all", len(requests), "")
    yield line("manifest requests by digest", len(by_digest), "")
    if not hosts:
        yield line("manifest requests for the tag", len(tags), "")
        yield line("copies of the image read at the registry", copies, "")
        return
    yield at_most("manifest requests for the tag, per host", len(tags) / hosts, 1)
    yield at_most("copies of the image read at the registry", copies, 1)
    yield at_most("GETs of the blob that was read most often", most, 1)


def _pull_all(
    network: Network,
    registry: Registry,
    reference: str,
    made: Image,
    mirrors: dict[str, str],
    folder: Path,
) -> list[float]:
    """Return the seconds after which each host has the image."""
    engines = {
        name: Skopeo(
            folder / f"{name}-engine", registry=registry.host, mirror=mirrors.get(name, "")
        )
        for name in network.names
    }
    begun_s = time.perf_counter()
    running = {
        name: network.start(name, engine.command(reference), folder / f"{name}-engine.log")
        for name, engine in engines.items()
    }
    seconds: dict[str, float] = {}
    while len(seconds) < len(running):
        for name, process in running.items():
            if name not in seconds and process.poll() is not None:
                seconds[name] = time.perf_counter() - begun_s
                if process.returncode or not engines[name].holds(made):
                    raise RuntimeError((folder / f"{name}-engine.log").read_text())
        if time.perf_counter() - begun_s > TIMEOUT_S:
            raise TimeoutError(f"{len(seconds)} of {len(running)} hosts after {TIMEOUT_S:.0f} s")
        time.sleep(0.02)
    return [*seconds.values()]
