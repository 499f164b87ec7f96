"""What compression saves on the wire, what it costs, and whether it ever slows anybody down.

For each content of `datasets.py`: eight hosts in network namespaces with shaped links, or one
host on loopback (`--rate 0`), with a SuperNode that compresses and one that does not, in turn;
the medians are compared. `--nginx` has nginx compress each of eight transfers anew, which is
what HTTP has to offer. All processes are real; root is needed for namespaces.

The daemons are asked over their sockets, as dfget asks them, by one program: the start of eight
interpreters takes two cores more than a second, which is longer than the content takes at
1 Gbit/s. Before each rollout the machine is left alone until it is idle; a first one, of random
bytes, is not counted: the SuperNode learns from it what the links carry.

    python bench/compression.py --rate 100 --keep rows.jsonl
    python bench/compression.py --rate 1000 --keep rows.jsonl
    python bench/compression.py --rate 0 --keep rows.jsonl
    python bench/compression.py --nginx --keep rows.jsonl
    python bench/compression.py --report rows.jsonl

Each part takes some minutes, so they are run one by one and keep their rows in a file.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from arena import BIN, SOURCE_PORT, Run, start_source, wait_line
from compression_report import report
from damselfly.services.compressing.machine_load import MachineLoad
from damselfly.services.outputs import take_from
from damselfly.transport.local_client import LocalClient
from damselfly.wire.local_messages import DownloadRequest
from datasets import DATA_SETS, write_all
from memory import use_memory
from network import SEED, Network, a_network

HOSTS = 8
WAYS = {"off": 8002, "on": 8003}
NGINX_PORT = 8010
IDLE_S, IDLE_SHARE, IDLE_WAIT_S = 1.5, 0.1, 5.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Fleet:
    """A SuperNode and hosts that compress, or do not.

    Attributes:
        supernode: Process id.
        daemons: {host: process id}.
        sockets: {host: path of its daemon's socket}.
    """

    supernode: int
    daemons: dict[str, int] = field(default_factory=dict)
    sockets: dict[str, str] = field(default_factory=dict)


@dataclass
class Spent:
    """What one rollout took.

    Attributes:
        last_s: Until the last host had it.
        wire_bytes: Received by all hosts, as their interfaces count it.
        supernode_s: CPU.
        hosts_s: CPU of all daemons.
    """

    last_s: float
    wire_bytes: int
    supernode_s: float
    hosts_s: float


class Loopback(Network):
    """One host and the seed on the loopback of this machine."""

    def __init__(self) -> None:
        super().__init__(1, 10_000, 10_000)
        self.address = {"h0": "127.0.0.1", SEED: "127.0.0.1"}

    def start(
        self, name: str, command: Sequence[str], log: Path, *, reads: bool = False
    ) -> subprocess.Popen[bytes]:
        """Start a program."""
        del name
        with log.open("ab") as file:
            out = subprocess.PIPE if reads else file
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=file)
        self._started.append(process)
        return process

    def counters(self) -> dict[str, tuple[int, int]]:
        """Return nothing: what goes over loopback is not told apart."""
        return {"h0": (0, 0), SEED: (0, 0)}

    def pids(self) -> dict[int, str]:
        """Return what was started and runs."""
        return {process.pid: "h0" for process in self._started if process.poll() is None}


@contextlib.contextmanager
def a_loopback() -> Iterator[Network]:
    """Give one host, whose processes are gone afterwards."""
    network = Loopback()
    try:
        yield network
    finally:
        network.stop()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(number) for number in fields[11:15]) / TICKS


def start_fleet(run: Run, way: str, settings: str) -> Fleet:
    """Start a SuperNode on the seed and a daemon on each host."""
    network, port = run.network, WAYS[way]
    config = run.folder / f"{way}.toml"
    config.write_text(f"{settings}\n")  # what the links carry is for the SuperNode to find out
    address = f"{network.address[SEED]}:{port}"
    command = [str(BIN / "damselfly"), "supernode", "--listen", address]
    options = ["--log-level", "warning", "--data", str(run.output(f"{SEED}-{way}"))]
    supernode = network.start(
        SEED, [*command, *options, "--config", str(config)], run.log(f"{SEED}-{way}"), reads=True
    )
    wait_line(supernode, "listens on (.*)")
    fleet = Fleet(supernode.pid)
    for name in network.names:
        listen = f"{network.address[name]}:{65000 + port - 8000}"
        daemon = network.start(
            name,
            [
                *(str(BIN / "damselfly"), "daemon", "--supernode", address, "--proxy", "off"),
                *("--listen", listen, "--log-level", "warning"),
                *("--data", str(run.output(f"{name}-{way}"))),
            ],
            run.log(f"{name}-{way}"),
            reads=True,
        )
        fleet.sockets[name] = wait_line(daemon, r"and (\S+)")
        fleet.daemons[name] = daemon.pid
    return fleet


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wait_until_idle() -> None:
    """Wait until nothing has gone on for longer than a SuperNode looks back, or others go on."""
    load, idle_s, given_up_s = MachineLoad(), 0.0, time.monotonic() + IDLE_WAIT_S
    while idle_s < IDLE_S and time.monotonic() < given_up_s:
        time.sleep(0.25)
        idle_s = idle_s + 0.25 if load.cpu_share() < IDLE_SHARE else 0.0


def roll_out(run: Run, fleet: Fleet, content: Path, tag: str, expected: str) -> Spent:
    """Have all hosts get a content that is cold: the tag makes it a task of its own."""
    network = run.network
    url = f"http://127.0.0.1:{SOURCE_PORT}/{content.name}"
    received = sum(counts[1] for name, counts in network.counters().items() if name != SEED)
    supernode_s, hosts_s = cpu_s(fleet.supernode), sum(map(cpu_s, fleet.daemons.values()))
    outputs = {name: run.folder / f"{name}-out.bin" for name in network.names}
    request = DownloadRequest(url=url, tag=tag)
    begun_s = time.monotonic()

    def get(name: str) -> float:
        client = LocalClient(fleet.sockets[name])
        finished = client.download(request, lambda _: None)
        take_from(client, finished, str(outputs[name]))
        return time.monotonic() - begun_s

    with ThreadPoolExecutor(len(outputs)) as askers:
        last_s = max(askers.map(get, outputs))
    after = sum(counts[1] for name, counts in network.counters().items() if name != SEED)
    spent = Spent(
        last_s=last_s,
        wire_bytes=after - received,
        supernode_s=cpu_s(fleet.supernode) - supernode_s,
        hosts_s=sum(map(cpu_s, fleet.daemons.values())) - hosts_s,
    )
    for output in outputs.values():
        if digest_of(output) != expected:
            raise RuntimeError(f"{output} is not the content")
        output.unlink()
    return spent


def middle(spent: list[Spent]) -> dict[str, float]:
    """Return the medians."""
    return {
        name: statistics.median(getattr(each, name) for each in spent) for name in vars(spent[0])
    }


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each content: both ways, in turn."""
    data = arguments.data or folder / "contents"
    contents = write_all(data, arguments.size, arguments.sets)
    (first,) = write_all(data, arguments.size, ["random"]).values()
    rate = arguments.rate
    making = a_network(HOSTS, rate, rate) if rate else a_loopback()
    with making as network:
        run = Run(network, folder / f"run-{rate}", first)
        run.folder.mkdir(parents=True)
        start_source(run, "127.0.0.1")
        fleets = {
            way: start_fleet(run, way, arguments.off if way == "off" else arguments.on)
            for way in WAYS
        }
        for way in WAYS:  # what the links carry is learned from what was sent
            wait_until_idle()
            roll_out(run, fleets[way], first, f"first-{way}", digest_of(first))
        for name, content in contents.items():
            digest = digest_of(content)
            spent: dict[str, list[Spent]] = {way: [] for way in WAYS}
            for number in range(arguments.repeats):
                ways = list(WAYS) if number % 2 else list(reversed(WAYS))
                for way in ways:
                    # a copy at the SuperNode and at each host, and some more of what is written
                    use_memory(run.folder, (len(network.names) + 2) * content.stat().st_size)
                    wait_until_idle()
                    tag = f"{name}-{way}-{number}"
                    spent[way].append(roll_out(run, fleets[way], content, tag, digest))
            row = {way: middle(each) for way, each in spent.items()}
            hosts = len(network.names)
            size = content.stat().st_size
            yield {"part": f"{hosts}x{rate}", "set": name, "size": size, "hosts": hosts, **row}


# --- nginx

NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; user root;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on;
    client_body_temp_path {folder}; proxy_temp_path {folder};
    fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    default_type application/x-content;
    gzip {gzip}; gzip_types application/x-content; gzip_comp_level {level};
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}"""


def nginx_transfers(folder: Path, content: Path, *, level: int) -> dict[str, float]:
    """Have eight curls take a content from nginx; level 0: not compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nginx.conf"
    text = NGINX.format(
        folder=folder,
        gzip="on" if level else "off",
        level=level or 1,
        port=NGINX_PORT,
        root=content.parent,
    )
    config.write_text(text)
    server = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)])
    try:
        time.sleep(0.5)
        worker = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
        before_s, children_s = cpu_s(worker), os.times()
        command = ["curl", "-sS", "--compressed", "-o", "/dev/null", "-w", "%{size_download}"]
        url = f"http://127.0.0.1:{NGINX_PORT}/{content.name}"
        curls = [
            subprocess.Popen([*command, url], stdout=subprocess.PIPE, text=True)
            for _ in range(HOSTS)
        ]
        wire_bytes = sum(int(curl.communicate()[0]) for curl in curls)
        after = os.times()
        return {
            "wire_bytes": wire_bytes,
            "server_s": cpu_s(worker) - before_s,
            "clients_s": after.children_user
            + after.children_system
            - children_s.children_user
            - children_s.children_system,
        }
    finally:
        server.terminate()
        server.wait()


def measure_nginx(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each content."""
    contents = write_all(arguments.data or folder / "contents", arguments.size, arguments.sets)
    for name, content in contents.items():
        zstd = subprocess.run(["zstd", "-3", "-c", content], capture_output=True, check=True)
        yield {
            "part": "nginx",
            "set": name,
            "size": content.stat().st_size,
            "zstd3": len(zstd.stdout),
            "off": nginx_transfers(folder / "nginx-off", content, level=0),
            "on": nginx_transfers(folder / "nginx-on", content, level=arguments.level),
        }


def main() -> None:
    """Measure one part, or report on all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rate", type=int, default=100, help="Mbit/s of each link; 0: loopback")
    parser.add_argument("--size", type=int, default=64, help="MB of each content")
    parser.add_argument("--sets", default=",".join(DATA_SETS), help="contents, with commas")
    parser.add_argument("--repeats", type=int, default=3, help="rollouts of each way")
    parser.add_argument("--nginx", action="store_true", help="eight transfers from nginx instead")
    parser.add_argument("--level", type=int, default=1, help="gzip_comp_level of nginx")
    parser.add_argument("--on", default="", help="settings of the SuperNode that compresses")
    parser.add_argument(
        "--off",
        default="[supernode.compression]\nmode = 'off'",
        help="settings of the SuperNode that does not",
    )
    parser.add_argument("--data", type=Path, help="folder in which the contents lie, or are put")
    parser.add_argument("--keep", metavar="FILE", help="add the rows to a file")
    parser.add_argument("--report", metavar="FILE", help="print the table of the rows in a file")
    arguments = parser.parse_args()
    arguments.sets = arguments.sets.split(",")
    if arguments.report:
        rows = [json.loads(line) for line in Path(arguments.report).read_text().splitlines()]
        print("\n".join(report(rows)))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # namespaces and processes go, too
    folder = Path(tempfile.mkdtemp(prefix="damselfly-compression-"))
    measuring: Callable[..., Iterator[dict[str, Any]]]
    measuring = measure_nginx if arguments.nginx else measure
    try:
        for row in measuring(arguments, folder):
            print(json.dumps(row), flush=True)
            if arguments.keep:
                with Path(arguments.keep).open("a") as file:
                    file.write(json.dumps(row) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
