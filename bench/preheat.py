"""What preheating costs and saves: `preheat.py layer|pull|hosts|live|uploads|webhooks`.

Runs as root, with nginx.

`layer`: from the end of a layer's push to all of it at the SuperNode, against its transfer time.
`pull`: the first pull after a preheat against a warm one. `hosts`: an image to hosts on shaped
links against the fluid bound. `live`: a pull beside a preheat against one alone, by one link of the
source. `uploads`: the same by the SuperNode's link. `webhooks`: a thousand events a second.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from engines.images import Blob, Pusher
from engines.programs import Program, accepts, free_port
from engines.registries import Registry
from engines.swarm import BIN, Swarm, settings_of
from network import SEED, Network, a_network, shell
from preheat_events import send_events, some_blobs
from pull_parts import MB, REPOSITORY, Skopeo, a_registry, an_image, at_most, line, size_of
from pull_rollout import REGISTRY_PORT, SUPERNODE_PORT, a_registry_at_the_seed, start_swarm

SECRET = "of-the-bench"  # token and secret of all that is started here
ASK_S = 0.05
KINDS = ("alone", "beside", "other")
SOON_S = 200.0


def ask(address: str, method: str, path: str, value: Any = None) -> Any:  # noqa: ANN401  # JSON
    """Return what a SuperNode answers."""
    connection = HTTPConnection(address)
    headers = {"X-Damselfly-Token": os.environ["DAMSELFLY_API_TOKEN"]}
    connection.request(method, path, None if value is None else json.dumps(value), headers)
    told = json.loads(connection.getresponse().read())
    connection.close()
    return told


def ended(told: Callable[[], Any]) -> dict[str, Any]:
    """Return a job once it is over."""
    deadline_s = time.perf_counter() + SOON_S
    while (job := told()).get("state", "pending") in ("pending", "running"):
        if time.perf_counter() > deadline_s:
            raise TimeoutError(job)
        time.sleep(ASK_S)
    if job["state"] != "success":
        raise RuntimeError(job["error"])
    found: dict[str, Any] = job
    return found


@contextlib.contextmanager
def nginx(folder: Path, body: str, port: int) -> Iterator[str]:
    """Give the address of an nginx that serves what `body` says."""
    folder.mkdir(parents=True)
    conf = nginx_conf(folder, body, f"127.0.0.1:{port}")
    program = Program(["nginx", "-c", str(conf), "-p", str(folder)], folder)
    program.wait_ready(lambda: accepts("127.0.0.1", port))
    try:
        yield f"127.0.0.1:{port}"
    finally:
        program.stop()


def nginx_conf(folder: Path, body: str, listen: str) -> Path:
    """Write what an nginx serves; return the file."""
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{name}_temp_path {folder};" for name in places)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;"
        f"user root; events {{ worker_connections 4096; }} http {{ access_log off; {temporary}"
        f"client_max_body_size 0; proxy_request_buffering off; sendfile on;"
        f"server {{ listen {listen}; {body} }} }}"
    )
    return folder / "nginx.conf"


def layer(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield how soon pushed layers are at the SuperNode, from a registry over a shaped link."""
    with (
        tempfile.TemporaryDirectory(prefix="preheat-") as name,
        a_network(1, arguments.rate, 1000) as network,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        listen = f"{network.address[SEED]}:{SUPERNODE_PORT}"
        within = ("ip", "netns", "exec", network.space(SEED))
        rate = arguments.rate * 125_000
        stack.callback(Swarm(folder / "swarm", rate=rate, listen=listen, within=within).close)
        endpoint = {
            "name": "x",
            "url": f"http://{listen}/webhooks/distribution",
            "headers": {"Authorization": [f"Bearer {SECRET}"]},
            "timeout": "5s",
            "threshold": 5,
            "backoff": "1s",
        }
        registry = Registry(
            *(folder / "registry", folder / "storage"),
            listen=f"{network.address['h0']}:{REGISTRY_PORT}",
            within=("ip", "netns", "exec", network.space("h0")),
            notifications={"endpoints": [endpoint]},
        )
        stack.callback(registry.stop)
        yield f"layers pushed alone, {arguments.rate} Mbit/s from their registry to the SuperNode"
        for number, blob in enumerate(an_image("layers", total_mb=arguments.size).layers, start=1):
            _push(network, folder, registry.url, blob)
            begun_s = time.time()
            path = f"/api/v1/preheats/{number}"
            job = ended(lambda path=path: in_space(network, "GET", path))  # type: ignore[misc]
            blob_url = f"{registry.url}/v2/{REPOSITORY}/blobs/{blob.digest}"
            timed = ("curl", "-sSf", "-o", "/dev/null", "-w", "%{time_total}", blob_url)
            transfer_s = float(shell(*within, *timed))
            size = len(blob.data) // MB
            what = f"{size} MB: transfer alone {transfer_s:.2f} s; warm after"
            limit_s = round(1.2 * transfer_s + 0.1, 2)
            yield at_most(what, job["finished"] - begun_s, limit_s, "s")


def _push(network: Network, folder: Path, registry: str, blob: Blob) -> None:
    """Push a blob beside its registry, without a manifest."""
    file = folder / "blob"
    file.write_bytes(blob.data)
    curl = ("ip", "netns", "exec", network.space("h0"), "curl", "-sSf")
    begin = ("-X", "POST", "-D", "-", "-o", "/dev/null")
    told = shell(*curl, *begin, f"{registry}/v2/{REPOSITORY}/blobs/uploads/")
    (place,) = re.findall(r"(?im)^location: (\S+)", told)
    shell(*curl, "-T", str(file), f"{place}&digest={blob.digest}")


def pull(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield what the first pull after a preheat takes."""
    with tempfile.TemporaryDirectory(prefix="preheat-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        registry = stack.enter_context(a_registry(folder, "127.0.0.1:0"))
        swarm = Swarm(folder / "swarm", settings_of(registry))
        stack.callback(swarm.close)
        daemon = swarm.daemon("host")
        pusher = Pusher(registry.url)
        engine = Skopeo(folder / "engine", registry=registry.host, mirror=daemon.proxy)
        first, warm, read, size = [], [], 0, 0
        for number in range(arguments.repeat):
            made = an_image(f"pull-{number}", total_mb=arguments.size)
            size = size_of(made)
            pusher.push(REPOSITORY, [f"v{number}"], made)
            reference = f"{registry.host}/{REPOSITORY}:v{number}"
            asked = {"images": [reference], "target": "share:100%"}
            (job,) = ask(swarm.supernode, "POST", "/api/v1/preheats", asked)["preheats"]
            path = f"/api/v1/preheats/{job['id']}"
            ended(lambda path=path: ask(swarm.supernode, "GET", path))  # type: ignore[misc]
            before = len(registry.requests)
            first.append(engine.pull(reference))
            read += sum(
                each.sent_bytes
                for each in registry.requests[before:]
                if each.method == "GET" and re.search("/blobs/|/manifests/", each.path)
            )
            warm.append(engine.pull(reference))
        pusher.close()
        yield f"{size / MB:.0f} MB, {arguments.repeat} images, skopeo through a daemon"
        yield line("first pull after a preheat, median", statistics.median(first), "s")
        yield line("pull again, median", statistics.median(warm), "s")
        ratios = [one / other for one, other in zip(first, warm, strict=True)]
        yield at_most("first ÷ warm, median of pairs", statistics.median(ratios), 1.05)
        yield at_most("bytes read at the source in these first pulls", read, 0, "B")


def in_space(network: Network, method: str, path: str, value: Any = None) -> Any:  # noqa: ANN401
    """Ask the SuperNode of a network, from where it is."""
    url = f"http://{network.address[SEED]}:{SUPERNODE_PORT}{path}"
    data = ["-H", f"X-Damselfly-Token: {SECRET}"]
    data += [] if value is None else ["-d", json.dumps(value)]
    space = ("ip", "netns", "exec", network.space(SEED))
    return json.loads(
        shell(
            *space, "curl", "-sS", "--retry", "20", "--retry-connrefused", "-X", method, *data, url
        )
    )


def hosts(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield how long an image takes to all hosts."""
    made = an_image("hosts", total_mb=arguments.size)
    with (
        tempfile.TemporaryDirectory(prefix="preheat-") as name,
        a_network(arguments.hosts, arguments.rate, arguments.rate) as network,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        registry = stack.enter_context(a_registry_at_the_seed(folder, network, made))
        start_swarm(folder, network, registry, stack)
        while len(in_space(network, "GET", "/api/v1/hosts")["hosts"]) < arguments.hosts:
            time.sleep(0.1)
        asked = {"images": [f"{registry.host}/{REPOSITORY}:v1"], "target": "share:100%"}
        cost = network.usage()
        begun_s = time.perf_counter()
        told = _preheat(network, folder, asked)
        seconds = time.perf_counter() - begun_s
        bound_s = size_of(made) / (arguments.rate * 125_000)
        yield f"{size_of(made) / MB:.0f} MB to {arguments.hosts} hosts, {arguments.rate} Mbit/s"
        yield line("all contents warm at all hosts after", seconds, "s")
        yield at_most("the same ÷ fluid bound", seconds / bound_s, 1.25)
        yield line("CPU of daemons and SuperNode", network.usage().cpu_s - cost.cpu_s, "s")
        copies = registry.requests.of("GET", "/blobs/").sent_bytes / size_of(made)
        yield at_most("copies read at the registry", copies, 1)
        yield line("contents at places", told["content_count"] * (arguments.hosts + 1), "")


def _preheat(network: Network, folder: Path, asked: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON
    """Start a job by the command, which waits for its end."""
    address = f"{network.address[SEED]}:{SUPERNODE_PORT}"
    command = [str(BIN), "preheat", *asked["images"], "--target", asked["target"], "--json"]
    command += ["--supernode", address]
    process = network.start(SEED, command, folder / "preheat.log", reads=True)
    assert process.stdout is not None
    text = process.stdout.read()
    if process.wait():
        raise RuntimeError(f"{text.decode()} {(folder / 'preheat.log').read_text()}")
    return json.loads(text)


def webhooks(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield how a flood of events is taken in."""
    count = arguments.rate * arguments.seconds
    with tempfile.TemporaryDirectory(prefix="preheat-") as name, contextlib.ExitStack() as stack:
        folder, port = Path(name), free_port()
        digests = some_blobs(folder / "blobs", count)
        server = f"root {folder}/blobs;"
        host = stack.enter_context(nginx(folder / "nginx", server, port))
        swarm = Swarm(folder / "swarm")
        stack.callback(swarm.close)
        sent = send_events(
            swarm.supernode, f"http://{host}", digests, rate=arguments.rate, secret=SECRET
        )
        yield f"{arguments.rate} events/s for {arguments.seconds} s, each of a blob of its own"
        yield line("answered with 200", sent.accepted, "")
        yield at_most("events lost", count - sent.accepted, 0)
        yield at_most("99 of 100 answers within", 1000 * sent.quantile(0.99), 100, "ms")
        yield line("the median within", 1000 * sent.quantile(0.5), "ms")
        yield line("sent within", sent.seconds, "s")
        begun_s = time.perf_counter()
        while (done := _warm_count(swarm.supernode)) < count:
            if time.perf_counter() - begun_s > SOON_S:
                break
            time.sleep(0.5)
        yield line("more seconds until all of them were warm", time.perf_counter() - begun_s, "s")
        yield at_most("blobs that are not warm", count - done, 0)


def _warm_count(address: str) -> int:
    connection = HTTPConnection(address)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.search(r'damselfly_preheats_total\{state="success"\} (\S+)', text)
    return int(float(found[1])) if found else 0


class Beside:
    """A web server, a SuperNode and daemons in a network: pulls beside preheats of other files."""

    def __init__(
        self, network: Network, folder: Path, arguments: argparse.Namespace, *, web: str
    ) -> None:
        self._network, self._folder = network, folder
        self._rate, self._jobs = arguments.rate, 0
        data = os.urandom(arguments.size * MB)
        self.files = [f"{kind}{n}" for kind in KINDS for n in range(arguments.repeat)]
        for file in ("warm", *self.files):
            with (folder / file).open("wb") as opened:
                for _ in range(8 if file.startswith("other") else 1):
                    opened.write(data)
        (folder / "nginx").mkdir()
        place = f"{network.address[web]}:8080"
        conf = nginx_conf(folder / "nginx", f"root {folder};", place)
        self.url = f"http://{place}"
        network.start(web, ["nginx", "-c", str(conf), "-p", str(folder)], folder / "http.log")
        self._address = f"{network.address[SEED]}:{SUPERNODE_PORT}"

    def start(self, *hosts: str) -> None:
        """Start the SuperNode, and daemons on these hosts."""
        network, folder = self._network, self._folder
        config = folder / "damselfly.toml"
        config.write_text(f"[supernode]\nlink_rate = {self._rate * 125_000}\n")
        where = ("--listen", self._address, "--config", str(config))
        own = ("--data", str(folder / "supernode"), *where)
        network.start(SEED, [str(BIN), "supernode", *own], folder / "supernode.log")
        for host in hosts:
            place = ("--data", str(folder / host), "--listen", f"{network.address[host]}:65000")
            daemon = (*place, "--proxy", "off", "--supernode", self._address)
            network.start(host, [str(BIN), "daemon", *daemon], folder / f"{host}.log")
        while in_space(network, "GET", "/healthy")["hosts"] < len(hosts):
            time.sleep(0.2)

    def pull_s(self, file: str) -> float:
        """Download on the first host; return the seconds."""
        begun_s = time.perf_counter()
        flags = ("-O", str(self._folder / f"{file}.out"), "-q")
        socket = ("--socket", str(self._folder / "h0" / "daemon.sock"))
        command = [str(BIN.parent / "dfget"), f"{self.url}/{file}", *flags, *socket]
        process = self._network.start("h0", command, self._folder / "dfget.log")
        if process.wait():
            raise RuntimeError((self._folder / "dfget.log").read_text())
        return time.perf_counter() - begun_s

    def preheat(self, *words: str) -> str:
        """Start a job; return its number."""
        self._jobs += 1
        self._damselfly(*words)
        return str(self._jobs)

    def cancel(self, job: str) -> None:
        """End a job."""
        self._damselfly("cancel", job)
        time.sleep(1)

    def _damselfly(self, *words: str) -> None:
        command = [str(BIN), "preheat", *words, "--supernode", self._address]
        if self._network.start(SEED, command, self._folder / "preheat.log").wait():
            raise RuntimeError((self._folder / "preheat.log").read_text())

    def pairs(self, repeat: int, *target: str) -> Iterator[str]:
        """Yield how much pulls are slowed by preheats to a target."""
        alone, beside = [], []
        for number in range(repeat):
            alone.append(self.pull_s(f"alone{number}"))
            job = self.preheat(f"{self.url}/other{number}", "--no-wait", *target)
            time.sleep(1)
            beside.append(self.pull_s(f"beside{number}"))
            self.cancel(job)
        yield line("alone, median", statistics.median(alone), "s")
        yield line("beside a preheat, median", statistics.median(beside), "s")
        ratios = [one / other for one, other in zip(beside, alone, strict=True)]
        yield at_most("slowed to, median of pairs", statistics.median(ratios), 1.05)


def live(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield how much a preheat slows a pull of something else, by the same link of the source."""
    with (
        tempfile.TemporaryDirectory(prefix="preheat-") as name,
        a_network(2, arguments.rate, 1000) as network,
    ):
        site = Beside(network, Path(name), arguments, web="h1")
        site.start("h0")
        site.pull_s("warm")
        yield f"{arguments.size} MB by dfget, {arguments.rate} Mbit/s from the source"
        yield from site.pairs(arguments.repeat)


def uploads(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield how much a preheat of a host slows a pull of another, by the SuperNode's link."""
    with (
        tempfile.TemporaryDirectory(prefix="preheat-") as name,
        a_network(2, 1000, arguments.rate) as network,
    ):
        site = Beside(network, Path(name), arguments, web=SEED)
        site.start("h0", "h1")
        site.pull_s("warm")
        site.preheat(*(f"{site.url}/{file}" for file in site.files))
        told = in_space(network, "GET", "/api/v1/hosts")["hosts"]
        place = f"{network.address['h1']}:65000"
        (host_id,) = (each["host_id"] for each in told if each["address"] == place)
        yield f"{arguments.size} MB by dfget, {arguments.rate} Mbit/s from the SuperNode"
        yield from site.pairs(arguments.repeat, "--target", f"hosts:{host_id}")


def main() -> None:
    """Run one part and print its numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(required=True)
    for part, size, rate in (
        *((layer, 200, 200), (pull, 300, 0)),
        *((hosts, 1074, 30), (live, 100, 80), (uploads, 60, 80), (webhooks, 0, 1000)),
    ):
        known = parts.add_parser(part.__name__)
        known.set_defaults(part=part)
        known.add_argument("--size", type=int, default=size, help="MB")
        known.add_argument("--hosts", type=int, default=16)
        known.add_argument("--rate", type=int, default=rate, help="Mbit/s, or events/s")
        known.add_argument("--seconds", type=int, default=10)
        known.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    os.environ["DAMSELFLY_API_TOKEN"] = os.environ["DAMSELFLY_WEBHOOK_SECRET"] = SECRET
    os.environ.pop("DAMSELFLY_CONFIG", None)
    kernel = platform.release().split("-")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"
    print(f"{arguments.part.__name__}, {datetime.now(UTC):%Y-%m-%d}, {machine}", flush=True)
    for text in arguments.part(arguments):
        print(text, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends
    main()
