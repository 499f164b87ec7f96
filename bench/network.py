"""Hosts on one machine: network namespaces on a bridge, each link shaped in both directions."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SEED = "seed"


def shell(*command: str, stdin: str = "") -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def token_bucket(rate_mbit: int) -> str:
    """Return a shaper: a burst of two large packets and 2 ms, a queue of 50 ms more."""
    bytes_per_s = rate_mbit * 125_000
    burst = max(131_072, bytes_per_s // 500)
    return f"tbf rate {rate_mbit}mbit burst {burst} limit {burst + bytes_per_s // 20}"


@dataclass
class Usage:
    """What the processes of a run cost."""

    cpu_s: float = 0.0
    peak_bytes: dict[str, int] = field(default_factory=dict)


class Network:
    """Hosts `h0`, `h1`, … and `seed`, all with the same link.

    With racks, the hosts of each hang on a switch of their own, in turn `rack0`, `rack1`, …,
    whose link to the others and to the seed is shaped in both directions.
    """

    def __init__(
        self, hosts: int, rate_mbit: int, seed_mbit: int, *, racks: int = 0, uplink_mbit: int = 0
    ) -> None:
        self.rate_mbit, self.seed_mbit = rate_mbit, seed_mbit
        self.racks, self.uplink_mbit = racks, uplink_mbit
        self._rack_hosts = hosts // racks if racks else 0
        self.names = [f"h{i}" for i in range(hosts)]
        self.address = {
            name: f"10.99.{i // 200}.{i % 200 + 1}" for i, name in enumerate(self.names)
        }
        self.address[SEED] = "10.99.255.1"
        self._prefix = f"dfbench{os.getpid()}"
        self._started: list[subprocess.Popen[bytes]] = []

    def space(self, name: str) -> str:
        """Return the namespace of a host."""
        return f"{self._prefix}-{name}"

    def rack(self, name: str) -> str:
        """Return the rack of a host; empty is none."""
        return f"rack{int(name[1:]) // self._rack_hosts}" if self.racks and name != SEED else ""

    def _build_racks(self, switch: str) -> None:
        for number in range(self.racks):
            rack, up, down = f"rack{number}", f"up{number}", f"down{number}"
            shell("ip", "-n", switch, "link", "add", rack, "type", "bridge")
            shell("ip", "-n", switch, "link", "add", up, "type", "veth", "peer", "name", down)
            for port, bridge in ((up, rack), (down, "core")):
                shell("ip", "-n", switch, "link", "set", port, "master", bridge, "up")
                shaper = token_bucket(self.uplink_mbit).split()
                shell("tc", "-n", switch, "qdisc", "add", "dev", port, "root", *shaper)
            shell("ip", "-n", switch, "link", "set", rack, "up")

    def rack_bytes(self) -> list[int]:
        """Return how many bytes entered each rack."""
        space = ("ip", "netns", "exec", self.space("switch"), "cat")
        return [
            int(shell(*space, f"/sys/class/net/down{number}/statistics/tx_bytes"))
            for number in range(self.racks)
        ]

    def build(self) -> None:
        """Make everything."""
        switch = self.space("switch")
        shell("ip", "netns", "add", switch)
        shell("ip", "-n", switch, "link", "add", "core", "type", "bridge")
        shell("ip", "-n", switch, "link", "set", "core", "up")
        self._build_racks(switch)
        for name, address in self.address.items():
            rate = self.seed_mbit if name == SEED else self.rate_mbit
            space, port = self.space(name), f"p-{name}"
            shell("ip", "netns", "add", space)
            shell(
                *("ip", "-n", switch, "link", "add", port, "type", "veth"),
                *("peer", "name", "eth0", "netns", space),
            )
            bridge = self.rack(name) or "core"
            shell("ip", "-n", switch, "link", "set", port, "master", bridge, "up")
            shell("ip", "-n", space, "link", "set", "lo", "up")
            shell("ip", "-n", space, "addr", "add", f"{address}/16", "dev", "eth0")
            shell("ip", "-n", space, "link", "set", "eth0", "up")
            for where, device in ((switch, port), (space, "eth0")):
                shaper = token_bucket(rate).split()
                shell("tc", "-n", where, "qdisc", "add", "dev", device, "root", *shaper)

    def start(
        self, name: str, command: Sequence[str], log: Path, *, reads: bool = False
    ) -> subprocess.Popen[bytes]:
        """Start a program on a host; with `reads` its standard output is a pipe."""
        with log.open("ab") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.space(name), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if reads else file,
                stderr=file,
            )
        self._started.append(process)
        return process

    def counters(self) -> dict[str, tuple[int, int]]:
        """Return {host: (bytes sent, bytes received)} of its interface."""
        counts = {}
        for name in self.address:
            text = shell(
                *("ip", "netns", "exec", self.space(name), "cat"),
                "/sys/class/net/eth0/statistics/tx_bytes",
                "/sys/class/net/eth0/statistics/rx_bytes",
            )
            sent, received = text.split()
            counts[name] = (int(sent), int(received))
        return counts

    def pids(self) -> dict[int, str]:
        """Return {process id: host} of all that runs here."""
        return {
            int(pid): name
            for name in self.address
            for pid in shell("ip", "netns", "pids", self.space(name)).split()
        }

    def usage(self) -> Usage:
        """Return what the processes that run now have cost since they began."""
        usage = Usage()
        ticks = os.sysconf("SC_CLK_TCK")
        for pid, name in self.pids().items():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                usage.cpu_s += (int(fields[11]) + int(fields[12])) / ticks
                status = Path(f"/proc/{pid}/status").read_text()
                peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
                kind = "seed" if name == SEED else "host"
                peak_bytes = int(peak.split()[1]) << 10
                usage.peak_bytes[kind] = max(usage.peak_bytes.get(kind, 0), peak_bytes)
        return usage

    def stop(self) -> None:
        """End all that runs here, by process id."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline_s = time.monotonic() + 3
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            while self.pids() and time.monotonic() < deadline_s:
                for process in self._started:
                    process.poll()
                time.sleep(0.05)
        for process in self._started:
            process.wait()
            if process.stdout:
                process.stdout.close()
        self._started.clear()

    def remove(self) -> None:
        """Remove everything."""
        spaces = shell("ip", "netns", "list").split()
        mine = [space for space in spaces if space.startswith(f"{self._prefix}-")]
        if self.space("switch") in mine and len(mine) == len(self.address) + 1:
            self.stop()
        for space in mine:
            shell("ip", "netns", "del", space)


@contextlib.contextmanager
def a_network(
    hosts: int, rate_mbit: int, seed_mbit: int, *, racks: int = 0, uplink_mbit: int = 0
) -> Iterator[Network]:
    """Give a network that is gone afterwards."""
    network = Network(hosts, rate_mbit, seed_mbit, racks=racks, uplink_mbit=uplink_mbit)
    try:
        network.build()
        yield network
    finally:
        network.remove()
