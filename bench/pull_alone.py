"""One host, unshaped: through the daemon against straight from the registry."""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

from engines.images import CONFIG, MANIFEST, Blob, Image, Pusher, artifact, layer
from engines.registries import Registry
from engines.swarm import a_swarm, settings_of
from memory import use_memory
from pull_parts import MB, REPOSITORY, Skopeo, a_registry, an_image, at_most, line, size_of

MANIFESTS, FIRST_BYTES = 20, 5
LARGE_BYTES = 500 * MB
FIRST_BYTES_WRITTEN = 64 * MB  # some blocks at the SuperNode and the daemon, and room
COPIES_WRITTEN = 4  # the SuperNode's, the daemon's, the engine's, and room
MANIFEST_LIMIT_MS, FIRST_BYTE_LIMIT_MS, COLD_LIMIT = 20, 50, 1.1


def alone(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the numbers."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-")))
        registry = stack.enter_context(a_registry(folder, "127.0.0.1:0"))
        pusher = Pusher(registry.url)
        stack.callback(pusher.close)
        swarm = stack.enter_context(a_swarm(folder / "swarm", settings_of(registry)))
        mirror = swarm.daemon("host").proxy
        yield from _images(arguments, registry, pusher, mirror, folder)
        yield from _manifests(registry, pusher, mirror)
        yield from _first_bytes(registry, pusher, mirror, folder)


def _images(
    arguments: argparse.Namespace, registry: Registry, pusher: Pusher, mirror: str, folder: Path
) -> Iterator[str]:
    straight = Skopeo(folder / "straight", registry=registry.host)
    through = Skopeo(folder / "through", registry=registry.host, mirror=mirror)
    direct: list[float] = []
    cold: list[float] = []
    warm: list[float] = []
    for turn in range(arguments.turns):
        made = an_image(f"alone-{turn}", total_mb=arguments.size)
        pusher.push(f"{REPOSITORY}-{turn}", ["v1"], made)
        reference = f"{registry.host}/{REPOSITORY}-{turn}:v1"
        for engine, seconds in ((through, cold), (straight, direct), (through, warm)):
            engine.forget()
            use_memory(folder, COPIES_WRITTEN * size_of(made))
            seconds.append(engine.pull(reference))
        if not (through.holds(made) and straight.holds(made)):
            raise RuntimeError("an engine has not got its image")
        del made
    medians = [statistics.median(each) for each in (direct, cold, warm)]
    yield line("image, direct", medians[0], "s")
    yield line("image, through the daemon, cold", medians[1], "s")
    yield line("image, through the daemon, warm", medians[2], "s")
    yield at_most("cold ÷ direct", medians[1] / medians[0], COLD_LIMIT)
    yield at_most("warm ÷ direct", medians[2] / medians[0], 1)


def _manifests(registry: Registry, pusher: Pusher, mirror: str) -> Iterator[str]:
    """Yield what each manifest costs more, as an engine asks: HEAD by tag, GET by digest."""
    for number in range(MANIFESTS):
        pusher.push(_repository(number), ["v1"], _small(number))
    asked = [Client(registry.host), Client(mirror, registry.host)]
    for what in ("cold", "warm"):
        times: list[list[float]] = [[], []]
        for number in range(MANIFESTS):
            for client, seconds in zip(asked, times, strict=True):
                digest = _small(number).digest
                seconds.append(client.manifest(_repository(number), "v1", digest))
        direct, through = (1000 * statistics.median(each) for each in times)
        yield line(f"manifest by tag and digest, direct ({what})", direct, "ms")
        more = through - direct
        yield at_most(f"the same through the daemon, {what}: more", more, MANIFEST_LIMIT_MS, "ms")
    for client in asked:
        client.close()


def _repository(number: int) -> str:
    return f"bench/manifest-{number}"


def _small(number: int) -> Image:
    config = Blob(CONFIG, f'{{"number": {number}}}'.encode())
    return artifact(config, layer(1000, f"small-{number}"))


def _first_bytes(registry: Registry, pusher: Pusher, mirror: str, folder: Path) -> Iterator[str]:
    direct: list[float] = []
    through: list[float] = []
    for number in range(FIRST_BYTES):
        large = layer(LARGE_BYTES, f"large-{number}")
        repository = f"bench/large-{number}"
        pusher.push(repository, [], artifact(Blob(CONFIG, b"{}"), large))
        path = f"/v2/{repository}/blobs/{large.digest}"
        del large
        for client, seconds in (  # direct first: the SuperNode reads the rest of it afterwards
            (Client(registry.host), direct),
            (Client(mirror, registry.host), through),
        ):
            use_memory(folder, FIRST_BYTES_WRITTEN)
            seconds.append(client.first_byte(path))
            client.close()
    medians = [1000 * statistics.median(each) for each in (direct, through)]
    yield line("first byte of a 500 MB layer, direct", medians[0], "ms")
    more = medians[1] - medians[0]
    yield at_most("the same through the daemon, cold: more", more, FIRST_BYTE_LIMIT_MS, "ms")


class Client:
    """An engine's requests without an engine; with `registry` they are for a mirror."""

    def __init__(self, host: str, registry: str = "") -> None:
        self._connection = HTTPConnection(host, timeout=60)
        self._query = f"?ns={registry}" if registry else ""

    def close(self) -> None:
        """Go away."""
        self._connection.close()

    def manifest(self, repository: str, tag: str, digest: str) -> float:
        """Return the seconds that a manifest takes."""
        begun_s = time.perf_counter()
        for method, reference in (("HEAD", tag), ("GET", digest)):
            path = f"/v2/{repository}/manifests/{reference}{self._query}"
            self._connection.request(method, path, headers={"Accept": MANIFEST})
            answer = self._connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {answer.status}")
        return time.perf_counter() - begun_s

    def first_byte(self, path: str) -> float:
        """Return the seconds until the first byte of a blob is here, with a new connection."""
        begun_s = time.perf_counter()
        self._connection.request("GET", path + self._query)
        answer = self._connection.getresponse()
        if len(answer.read(1)) != 1:
            raise RuntimeError(f"{path}: {answer.status}")
        return time.perf_counter() - begun_s
