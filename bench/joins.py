"""One SuperNode process and ten thousand hosts: joins, messages, memory, and how late it is.

The SuperNode is the real one, reading a real source; the hosts are real sessions out of a few
load processes that only imagine their blocks (`joins_load.py`).

    python bench/joins.py --hosts 10000 --result bench/results/joins.txt
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
KIB, MIB = 1 << 10, 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")
TASKS = 4  # of a host in the second scenario
READING_S = 10.0  # so long does the source give its content, while hosts arrive


def line_of(process: "subprocess.Popen[str]") -> str:
    """Return the next line of a program."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@dataclass
class Seen:
    """What was seen of the SuperNode at one moment."""

    at_s: float
    cpu_s: float
    memory: int
    handled: float
    delays: dict[float, float]


class SuperNode:
    """The process that is measured."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self.process, self.url = process, url
        self.address = line_of(process).split()[-1]

    def see(self) -> Seen:
        """Look at it."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        memory = re.search(r"VmRSS:\s+(\d+)", status)
        with urlopen(f"http://{self.address}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        handled = re.search(r"^damselfly_scheduler_handle_seconds_count (\S+)", text, re.MULTILINE)
        delays = re.findall(
            r'^damselfly_loop_delay_seconds_bucket{le="(\S+)"} (\S+)', text, re.MULTILINE
        )
        assert memory
        assert handled
        return Seen(
            at_s=time.monotonic(),
            cpu_s=(int(stat[11]) + int(stat[12])) / TICKS,
            memory=int(memory[1]) << 10,
            handled=float(handled[1]),
            delays={float(limit): float(count) for limit, count in delays},
        )


def delay_p99(before: Seen, after: Seen) -> float:
    """Return below which 99 of 100 delays of the event loop lay, by the histogram's buckets."""
    counts = {limit: after.delays[limit] - before.delays[limit] for limit in after.delays}
    total = max(counts.values())
    return min(limit for limit, count in counts.items() if count >= 0.99 * total)


class Crowd:
    """All load processes."""

    def __init__(self, supernode: SuperNode, processes: int) -> None:
        self._started = [
            subprocess.Popen(
                [
                    *(sys.executable, str(HERE / "joins_load.py")),
                    *(supernode.address, str(number), supernode.url),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(processes)
        ]

    def do(self, what: str, **arguments: float | str) -> list[dict[str, Any]]:
        """Let all do the same; counts and rates are shared among them."""
        for key in arguments.keys() & {"count", "rate"}:
            arguments[key] = int(arguments[key]) // len(self._started)
        for process in self._started:
            assert process.stdin is not None
            print(json.dumps({"do": what, **arguments}), file=process.stdin, flush=True)
        return [json.loads(line_of(process)) for process in self._started]

    def end(self) -> None:
        """End them."""
        for process in self._started:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


@contextlib.contextmanager
def a_crowd(supernode: SuperNode, processes: int) -> Iterator[Crowd]:
    """Start load processes."""
    crowd = Crowd(supernode, processes)
    try:
        yield crowd
    finally:
        crowd.end()


@contextlib.contextmanager
def a_supernode(size: int) -> Iterator[SuperNode]:
    """Start a source and a SuperNode."""
    folder = Path(tempfile.mkdtemp(prefix="joins-"))
    script = str(HERE.parent / "scripts" / "file_server.py")
    source = subprocess.Popen(
        [sys.executable, script, "--size", str(size)], stdout=subprocess.PIPE, text=True
    )
    config = folder / "config.toml"
    config.write_text(f"[supernode.source]\nrate = {size / READING_S}\n")
    supernode = subprocess.Popen(
        [
            # The load, which stands for other machines, must not take its CPU away from it.
            *("nice", "-n", "-10", str(BIN / "damselfly"), "supernode"),
            *("--listen", "127.0.0.1:0"),
            *("--log-level", "error", "--config", str(config), "--data", str(folder / "data")),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield SuperNode(supernode, line_of(source))
    finally:
        for process in (supernode, source):
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


Row = tuple[str, str, str]


def flash_crowd(hosts: int, size: int, processes: int) -> Iterator[Row]:
    """All hosts come within ten seconds and want the same cold content."""
    with a_supernode(size) as supernode, a_crowd(supernode, processes) as crowd:
        before = supernode.see()
        answers = crowd.do("open", count=hosts, over_s=10.0, tag="one")
        joined = supernode.see()
        seconds = max(answer["seconds"] for answer in answers)
        p99_s = max(answer["p99_s"] for answer in answers)
        cpu_s = joined.cpu_s - before.cpu_s
        yield "joins per second of the SuperNode's CPU", f"{hosts / cpu_s:.0f}", ">= 1000"
        yield "all have joined, arriving over 10 s, after", f"{seconds:.2f} s", ""
        yield "a host's join takes, p99", f"{p99_s:.3f} s", ""
        late = delay_p99(before, joined)
        yield "event loop's delay while they join, p99 below", f"{late * 1000:.0f} ms", "<= 200"
        yield "memory", f"{(joined.memory - before.memory) / hosts / KIB:.1f} KiB", "<= 40"
        crowd.do("download", tag="one", seconds=20.0, every_s=2.0)
        done = supernode.see()
        late = delay_p99(joined, done)
        yield "event loop's delay while they download", f"{late * 1000:.0f} ms", "<= 200"
        cpu = (done.cpu_s - joined.cpu_s) / (done.at_s - joined.at_s)
        yield "CPU while they download", f"{100 * cpu:.0f} %", ""
        counts = crowd.do("counts", tag="one")
        lists = sum(count["listed"] for count in counts)
        lost = sum(count["lost"] for count in counts)
        busy = sum(count["busy"] for count in counts)
        yield "hosts with the whole block list", f"{lists}", f"{hosts}"
        yield "sessions lost; told to come later", f"{lost}; {busy}", "0"


def several_tasks(hosts: int, size: int, processes: int) -> Iterator[Row]:
    """All hosts have sessions and take task after task; then they tell how far they are."""
    with a_supernode(size) as supernode, a_crowd(supernode, processes) as crowd:
        empty = supernode.see()
        crowd.do("open", count=hosts, over_s=10.0)
        opened = supernode.see()
        per_host = (opened.memory - empty.memory) / hosts / KIB
        yield "memory per host with a session", f"{per_host:.1f} KiB", "<= 40"
        tags = [f"task-{number}" for number in range(TASKS)]
        for tag in tags:
            crowd.do("join", tag=tag, over_s=5.0)
        joined = supernode.see()
        per_task = (joined.memory - opened.memory) / hosts / TASKS / KIB
        yield "memory per host and task", f"{per_task:.1f} KiB", ""
        joins = TASKS * hosts / (joined.cpu_s - opened.cpu_s)
        yield "joins by open sessions per second of CPU", f"{joins:.0f}", ">= 1000"
        for rate in (10_000, 40_000):
            before = supernode.see()
            crowd.do("progress", tag=tags[0], rate=rate, for_s=10.0, hungry=0.1)
            after = supernode.see()
            handled = after.handled - before.handled
            seconds, cpu_s = after.at_s - before.at_s, after.cpu_s - before.cpu_s
            what = f"messages/s when {rate} are told; per second of CPU"
            value = f"{handled / seconds:.0f}; {handled / cpu_s:.0f}"
            yield what, value, ">= 10000"
            late = delay_p99(before, after)
            yield "  event loop's delay, p99 below", f"{late * 1000:.0f} ms", "<= 200"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=256, help="MiB of each content")
    parser.add_argument("--processes", type=int, default=2, help="of load")
    parser.add_argument("--result", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    kernel = platform.release().split("-")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"
    lines = [
        f"{arguments.hosts} sessions, one SuperNode process, contents of {arguments.size} MiB",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}",
    ]
    print("\n".join(lines), flush=True)
    for title, scenario in (("a flash crowd", flash_crowd), (f"{TASKS} tasks", several_tasks)):
        lines += ["", f"{title:<60}{'value':>16}  wanted"]
        print("\n".join(lines[-2:]), flush=True)
        for what, value, wanted in scenario(
            arguments.hosts, arguments.size * MIB, arguments.processes
        ):
            lines.append(f"{what:<60}{value:>16}  {wanted}".rstrip())
            print(lines[-1], flush=True)
    if arguments.result:
        arguments.result.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
