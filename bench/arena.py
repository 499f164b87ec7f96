"""The same file to the same hosts by several systems, one after the other.

Hosts are network namespaces with shaped links (root is needed); all processes are real. The
source is an nginx beside the seed, so its bytes leave over the seed's link. Prints a table:
last and median time, ratio to the fluid bound, copies that the seed sent, copies read at the
source and how often it was asked, bytes on the wire against the ideal, CPU seconds per GiB
received, peak memory, and how much of the machine's CPU was idle: with none, the row is of the CPU.

    python bench/arena.py --hosts 8 --rate 80 --systems damselfly,aria2,libtorrent,curl
"""

import argparse
import contextlib
import hashlib
import importlib.util
import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bittorrent
from memory import use_memory
from network import SEED, Network, Usage, a_network

BIN = Path(sys.executable).parent
MB = 1_000_000
TIMEOUT_S = 600.0
SOURCE_PORT, SUPERNODE_PORT, TRACKER_PORT = 8000, 8002, 6969


@dataclass
class Run:
    """One system's run."""

    network: Network
    folder: Path
    content: Path
    done_s: dict[str, float] = field(default_factory=dict)
    rack_bytes: list[int] = field(default_factory=list)
    idle_share: float = 0.0
    source_bytes: int = 0
    source_reads: int = 0

    def output(self, name: str) -> Path:
        """Return the folder of a host."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def log(self, name: str) -> Path:
        """Return the log of a host."""
        return self.folder / f"{name}.log"

    def wait_all(self, finished: dict[str, Callable[[], bool]], begun_s: float) -> None:
        """Note when each host has finished."""
        while len(self.done_s) < len(finished):
            now_s = time.monotonic() - begun_s
            if now_s > TIMEOUT_S:
                raise TimeoutError(f"only {len(self.done_s)} hosts finished in {TIMEOUT_S:.0f} s")
            for name, is_finished in finished.items():
                if name not in self.done_s and is_finished():
                    self.done_s[name] = now_s
            time.sleep(0.05)


def start_source(run: Run, address: str) -> None:
    """Start nginx on the seed; its log counts what it sent."""
    folder = run.folder / "nginx"
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
        user root;
        events {{ worker_connections 1024; }}
        http {{
            log_format bytes '$request_method $body_bytes_sent';
            access_log {folder}/access.log bytes; sendfile on; tcp_nopush on;
            client_body_temp_path {folder}; proxy_temp_path {folder};
            fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
            server {{ listen {address}:{SOURCE_PORT}; root {run.content.parent}; }}
        }}"""
    )
    run.network.start(SEED, ["nginx", "-c", str(config), "-p", str(folder)], run.log("nginx"))
    time.sleep(0.5)


def read_source(run: Run) -> None:
    """Note how often nginx was asked, and how many bytes it sent."""
    lines = (run.folder / "nginx" / "access.log").read_text().splitlines()
    run.source_reads = len(lines)
    run.source_bytes = sum(int(line.split()[1]) for line in lines)


def wait_line(process: subprocess.Popen[bytes], pattern: str) -> str:
    """Return what the first line of a program matches."""
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    found = re.search(pattern, line)
    if not found:
        raise RuntimeError(f"{process.args!r}: {line!r}")
    return found[1]


def has_ended(process: subprocess.Popen[bytes]) -> Callable[[], bool]:
    """Return a function that says whether a program has ended."""
    return lambda: process.poll() is not None


def run_damselfly(run: Run) -> Callable[[], None]:
    """SuperNode on the seed, a daemon and a dfget on each host."""
    network = run.network
    start_source(run, "127.0.0.1")
    address = f"{network.address[SEED]}:{SUPERNODE_PORT}"
    command = [str(BIN / "damselfly"), "supernode", "--listen", address, "--log-level", "warning"]
    options = ["--data", str(run.output(SEED) / "data")]
    config = run.folder / "config.toml"
    rate = network.rate_mbit * 125_000
    config.write_text(f"[supernode]\nlink_rate = {rate}\n")
    supernode = network.start(
        SEED, [*command, *options, "--config", str(config)], run.log(SEED), reads=True
    )
    wait_line(supernode, "listens on (.*)")
    daemons = {
        name: network.start(
            name,
            [
                *(str(BIN / "damselfly"), "daemon", "--supernode", address),
                *("--proxy", "off", "--location", network.rack(name)),
                *("--listen", f"{network.address[name]}:65000", "--log-level", "warning"),
                *("--data", str(run.output(name) / "data")),
            ],
            run.log(name),
            reads=True,
        )
        for name in network.names
    }
    sockets = {name: wait_line(daemon, r"and (\S+)") for name, daemon in daemons.items()}
    url = f"http://127.0.0.1:{SOURCE_PORT}/{run.content.name}"

    def begin() -> None:
        begun_s = time.monotonic()
        getting = {
            name: network.start(
                name,
                [
                    *(str(BIN / "dfget"), url, "-O", str(run.output(name) / run.content.name)),
                    *("--socket", sockets[name], "--quiet", "--json"),
                ],
                run.folder / f"{name}.json",
            )
            for name in network.names
        }
        run.wait_all({name: has_ended(get) for name, get in getting.items()}, begun_s)
        read_source(run)

    return begin


def run_curl(run: Run) -> Callable[[], None]:
    """Each host takes the file from nginx."""
    network = run.network
    start_source(run, network.address[SEED])
    url = f"http://{network.address[SEED]}:{SOURCE_PORT}/{run.content.name}"

    def begin() -> None:
        begun_s = time.monotonic()
        getting = {
            name: network.start(
                name,
                ["curl", "-sS", "-o", str(run.output(name) / run.content.name), url],
                run.log(name),
            )
            for name in network.names
        }
        run.wait_all({name: has_ended(get) for name, get in getting.items()}, begun_s)
        read_source(run)

    return begin


def run_bittorrent(run: Run, *, client: str) -> Callable[[], None]:
    """A seed and peers that find each other by a tracker."""
    network = run.network
    torrent = run.folder / "content.torrent"
    tracker_url = f"http://{network.address[SEED]}:{TRACKER_PORT}/announce"
    bittorrent.write_torrent(run.content, torrent, piece_bytes=1 << 20, tracker=tracker_url)
    script = [sys.executable, str(Path(__file__).parent / "bittorrent.py")]
    tracker = network.start(
        SEED, [*script, "tracker", str(TRACKER_PORT)], run.log("tracker"), reads=True
    )
    wait_line(tracker, "(ready)")

    def start(name: str) -> None:
        folder = run.output(name)
        if name == SEED:
            os.link(run.content, folder / run.content.name)
        if client == "aria2":
            command = bittorrent.aria2_command(torrent, folder, is_seed=name == SEED)
        else:
            command = [*script, "peer", str(torrent), str(folder), network.address[name]]
        network.start(name, command, run.log(name))

    start(SEED)
    wait_line(tracker, "peer (.*)")

    def begin() -> None:
        begun_s = time.monotonic()
        for name in network.names:
            start(name)
        done = {name: run.output(name) / "done" for name in network.names}
        run.wait_all({name: path.exists for name, path in done.items()}, begun_s)

    return begin


def missing(system: str) -> str:
    """Return which program a system lacks on this machine; empty: none."""
    match system:
        case "damselfly" | "curl":
            wanted = ["nginx"] + ["curl"] * (system == "curl")
        case "aria2":
            wanted = ["aria2c"]
        case "libtorrent" if importlib.util.find_spec("libtorrent") is None:
            return "libtorrent; install requirements/bench.txt"
        case _:
            wanted = []
    names = [name for name in wanted if shutil.which(name) is None]
    return f"{', '.join(names)}; install it, see bench/README.md" if names else ""


SYSTEMS: dict[str, Callable[[Run], Callable[[], None]]] = {
    "damselfly": run_damselfly,
    "aria2": lambda run: run_bittorrent(run, client="aria2"),
    "libtorrent": lambda run: run_bittorrent(run, client="libtorrent"),
    "curl": run_curl,
}


def idle_cpu_s() -> float:
    """Return how long the cores of this machine have been idle, all together."""
    ticks = Path("/proc/stat").read_text().split()[4]
    return int(ticks) / os.sysconf("SC_CLK_TCK")


def sha256_of(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure(system: str, network: Network, content: Path) -> str:
    """Run one system and return its row."""
    folder = Path(tempfile.mkdtemp(prefix=f"arena-{system}-"))
    run = Run(network, folder, content)
    try:
        use_memory(folder, len(network.names) * content.stat().st_size)
        begin = SYSTEMS[system](run)
        before, cost_before = network.counters(), network.usage()
        entered_before = network.rack_bytes()
        idle_before_s = idle_cpu_s()
        begin()
        idle_s, lasted_s = idle_cpu_s() - idle_before_s, max(run.done_s.values())
        run.idle_share = idle_s / lasted_s / (os.cpu_count() or 1)
        after, cost = network.counters(), network.usage()
        entered = zip(network.rack_bytes(), entered_before, strict=True)
        run.rack_bytes = [now - then for now, then in entered]
        wrong = [
            name
            for name in network.names
            if sha256_of(run.output(name) / content.name) != sha256_of(content)
        ]
        if wrong:
            raise RuntimeError(f"{system}: wrong content at {wrong}")
        cost.cpu_s -= cost_before.cpu_s
        return row(system, run, before, after, cost)
    except (RuntimeError, TimeoutError, OSError) as exc:
        for log in sorted(folder.glob("*.log")):
            print(log.name, log.read_text(errors="replace")[-500:], file=sys.stderr)
        return f"{system:<11} failed: {exc}"
    finally:
        network.stop()
        shutil.rmtree(folder, ignore_errors=True)


def row(
    system: str,
    run: Run,
    before: dict[str, tuple[int, int]],
    after: dict[str, tuple[int, int]],
    cost: Usage,
) -> str:
    """Return the numbers of a run as a line."""
    size, network = run.content.stat().st_size, run.network
    hosts = len(network.names)
    bound_s = bound(network, size)
    times = sorted(run.done_s.values())
    seed_sent = after[SEED][0] - before[SEED][0]
    received = sum(after[name][1] - before[name][1] for name in network.names)
    gib = hosts * size / (1 << 30)
    peaks = cost.peak_bytes
    entered = [count / size for count in run.rack_bytes]
    racks = f"{statistics.mean(entered):10.2f}{max(entered):8.2f}" if entered else ""
    return (
        f"{system:<11}{times[-1]:8.2f}{statistics.median(times):8.2f}{times[-1] / bound_s:8.3f}"
        f"{seed_sent / size:8.2f}{run.source_bytes / size:8.2f}{run.source_reads:8}"
        f"{received / (hosts * size):8.3f}"
        f"{cost.cpu_s / gib:8.2f}{peaks.get('seed', 0) / MB:8.0f}{peaks.get('host', 0) / MB:8.0f}"
        f"{racks}{run.idle_share:8.0%}"
    )


HEADER = (
    f"{'system':<11}{'last s':>8}{'median':>8}{'/bound':>8}{'copies':>8}{'source':>8}{'asked':>8}"
    f"{'wire':>8}{'cpu/GiB':>8}{'seed MB':>8}{'host MB':>8}"
)


def bound(network: Network, size: int) -> float:
    """Return the fluid bound: no system can be faster on these links."""
    seed, host = network.seed_mbit * 125_000, network.rate_mbit * 125_000
    hosts = len(network.names)
    uplink = network.uplink_mbit * 125_000
    return max(
        *(size / seed, size / host, hosts * size / (seed + hosts * host)),
        size / uplink if uplink else 0.0,
    )


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--rate", type=int, default=80, help="Mbit/s of each link")
    parser.add_argument("--racks", type=int, default=0, help="the hosts are in so many racks")
    parser.add_argument("--hosts-per-rack", type=int, default=8)
    parser.add_argument("--oversubscription", type=float, default=4.0, help="of a rack's uplink")
    parser.add_argument("--seed-rate", type=int, default=0, help="of the seed; default: as hosts")
    parser.add_argument("--size", type=int, default=256, help="MB")
    parser.add_argument("--systems", default="damselfly,aria2,libtorrent,curl")
    parser.add_argument("--result", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    systems = arguments.systems.split(",")
    for system in systems:
        if system not in SYSTEMS:
            parser.error(f"{system} is none of {', '.join(SYSTEMS)}")
        if lacks := missing(system):
            parser.error(f"{system} cannot run without {lacks}")
    seed_rate = arguments.seed_rate or arguments.rate
    header, uplink = HEADER, 0
    if arguments.racks:
        arguments.hosts = arguments.racks * arguments.hosts_per_rack
        uplink = round(arguments.hosts_per_rack * arguments.rate / arguments.oversubscription)
        header += f"{'into rack':>10}{'most':>8}"
    header += f"{'idle':>8}"
    what = f"{arguments.size} MB to {arguments.hosts} hosts, links {arguments.rate} Mbit/s"
    if arguments.racks:
        what += f", {arguments.racks} racks with uplinks of {uplink} Mbit/s"
    kernel = platform.release().split("-")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"
    lines = [f"{what}, seed {seed_rate} Mbit/s", f"{datetime.now(UTC):%Y-%m-%d}, {machine}"]
    with tempfile.TemporaryDirectory(prefix="arena-") as folder:
        content = Path(folder) / "content"
        content.write_bytes(random.Random(1).randbytes(arguments.size * MB))
        with a_network(
            arguments.hosts, arguments.rate, seed_rate, racks=arguments.racks, uplink_mbit=uplink
        ) as network:
            lines += [f"fluid bound {bound(network, arguments.size * MB):.2f} s", "", header]
            print("\n".join(lines), flush=True)
            for system in systems:
                lines.append(measure(system, network, content))
                print(lines[-1], flush=True)
    if arguments.result:
        arguments.result.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the network is removed
    with contextlib.suppress(KeyboardInterrupt):
        main()
