"""Sources: many small files to many hosts, and large ones from sources with a cap per connection.

`small`: 10,000 files of 10 KB from nginx to 8 hosts, `dfget --recursive` on each against
`curl --parallel` on each. `capped`: 1 GiB from nginx and from S3 (SeaweedFS), both behind a relay
that waits 200 ms before each request and gives each connection 50 MB/s, or 20, against curl over
16 ranges at once; medians of three. Both begin with a disk that has written what it had to, and
with memory that was in use a moment ago.

    python bench/sources.py [--part small|capped] [--files 10000] [--folder DIR] [--result FILE]
"""

import argparse
import contextlib
import itertools
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import obstore

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from engines.programs import free_port
from engines.seaweed import ACCESS_KEY, SECRET_KEY, a_seaweed, store_at
from memory import use_memory
from single_host import BIN, program, write_random

HOSTS, FILES, FILE_BYTES = 8, 10_000, 10_000
LARGE_BYTES = 1 << 30
FIRST_BYTE_S, CAPS_BYTES_PER_S = 0.2, (50e6, 20e6)
TURNS = 3
RANGES = 16


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, Path]]:
    """Serve a folder with index pages; gives the port and the log of requests."""
    port, log = free_port(), folder / "access.log"
    temporary = " ".join(
        f"{name}_temp_path {folder};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; user root;
        events {{ worker_connections 1024; }}
        http {{
            access_log {log} combined buffer=64k flush=1s; sendfile on; {temporary}
            keepalive_requests 100000;
            server {{ listen 127.0.0.1:{port}; root {folder}/html; autoindex on; }}
        }}"""
    )
    with program("nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)):
        wait_for(port)
        yield port, log


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(600):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nobody listens on port {port}")


@contextlib.contextmanager
def swarm(folder: Path, hosts: int, settings: str = "") -> Iterator[list[str]]:
    """Run a SuperNode and hosts; gives the sockets of their daemons."""
    config = folder / "settings.toml"
    config.write_text(settings)
    common = ("--listen", "127.0.0.1:0", "--log-level", "error", "--config", str(config))
    with contextlib.ExitStack() as stack:
        supernode = (str(BIN / "damselfly"), "supernode", *common, "--data", f"{folder}/sn")
        address = stack.enter_context(program(*supernode, ready="listens on (.*)"))
        sockets = []
        for number in range(hosts):
            data = f"{folder}/d{number}"
            daemon = (str(BIN / "damselfly"), "daemon", *common, "--data", data)
            more = ("--proxy", "off", "--supernode", address)
            sockets.append(stack.enter_context(program(*daemon, *more, ready=r"and (\S+)")))
        yield sockets


def together(commands: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    """Run commands at the same time; return the seconds of the last, and of each."""
    begun_s = time.perf_counter()
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for command in commands
    ]
    seconds = []
    for each in running:
        _, errors = each.communicate()
        if each.returncode:
            raise SystemExit(f"{each.args!r} failed: {errors.decode()[-500:]}")
        seconds.append(time.perf_counter() - begun_s)
    return max(seconds), seconds


# --- many small files


def small(folder: Path, count: int) -> Iterator[str]:
    """Yield the rows of many small files."""
    html = folder / "html" / "files"
    rng = random.Random(1)
    for number in range(count):
        path = html / f"{number % 100:02}" / f"{number:05}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(FILE_BYTES))
    yield f"{count:,} files x {FILE_BYTES:,} bytes to {HOSTS} hosts, unshaped"
    yield f"{'':22}{'last host s':>12}{'requests':>10}{'/curl':>8}"
    with nginx(folder) as (port, log):
        base = f"http://127.0.0.1:{port}/files"
        curl_s = 0.0
        for name, measure in (("curl --parallel", curl_small), ("dfget --recursive", dfget_small)):
            time.sleep(1.5)
            before = len(log.read_text().splitlines())
            last_s = measure(folder, base, count)
            time.sleep(1.5)  # the log is written every second
            requests = len(log.read_text().splitlines()) - before
            curl_s = curl_s or last_s
            yield f"{name:<22}{last_s:12.1f}{requests:10,}{last_s / curl_s:8.2f}"


def curl_small(folder: Path, base: str, count: int) -> float:
    """Let each host fetch all files itself."""
    commands = []
    for host in range(HOSTS):
        lines = []
        for number in range(count):
            file = f"{number % 100:02}/{number:05}.bin"
            lines.append(f'url = "{base}/{file}"\noutput = "{folder}/c{host}/{file}"')
        listed = folder / f"list{host}"
        listed.write_text("\n".join(lines))
        flags = ("--parallel", "--parallel-max", "32", "--create-dirs", "-sS")
        commands.append(("curl", *flags, "--config", str(listed)))
    last_s, _ = together(commands)
    check_all(folder, [folder / f"c{host}" for host in range(HOSTS)])
    return last_s


def dfget_small(folder: Path, base: str, _count: int) -> float:
    """Let each host ask its daemon for the folder."""
    with swarm(folder, HOSTS) as sockets:
        last_s, _ = together(
            [
                (
                    *(str(BIN / "dfget"), "--recursive", f"{base}/", "--quiet"),
                    *("--socket", path, "-O", f"{folder}/o{number}"),
                )
                for number, path in enumerate(sockets)
            ]
        )
    check_all(folder, [folder / f"o{host}" for host in range(HOSTS)])
    return last_s


def check_all(folder: Path, outputs: Sequence[Path]) -> None:
    """Check that each host has all files.

    They stay until the end: ext4 does not use the inodes of files that were deleted a moment ago,
    and looks past all of them for each new one.
    """
    for output in outputs:
        subprocess.run(
            ["diff", "-rq", str(folder / "html" / "files"), str(output)],
            check=True,
            stdout=subprocess.DEVNULL,
        )


# --- large ones, with a cap per connection


class Relay:
    """Waits before each request, and gives each connection so many bytes per second."""

    def __init__(self, port_behind: int, bytes_per_s: float) -> None:
        self._behind = port_behind
        self._bytes_per_s = bytes_per_s
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._server.accept()
            behind = socket.create_connection(("127.0.0.1", self._behind))
            for work in (self._ask, self._answer):
                threading.Thread(target=work, args=(client, behind), daemon=True).start()

    def _ask(self, client: socket.socket, behind: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                time.sleep(FIRST_BYTE_S)
                behind.sendall(data)
        with contextlib.suppress(OSError):
            behind.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, behind: socket.socket) -> None:
        buffer = memoryview(bytearray(1 << 18))
        due_s = time.perf_counter()
        with contextlib.suppress(OSError), client, behind:
            while count := behind.recv_into(buffer):
                due_s = max(due_s, time.perf_counter() - 0.02) + count / self._bytes_per_s
                client.sendall(buffer[:count])
                if (left_s := due_s - time.perf_counter()) > 0.001:
                    time.sleep(left_s)


def direct(folder: Path, url: str) -> float:
    """Return the seconds of the best direct client: curl over 16 ranges."""
    even_out(folder)
    step = LARGE_BYTES // RANGES
    many_s, _ = together(
        [
            (
                *("curl", "-sS", "-f", "-o", f"{folder}/part{number}"),
                *("-r", f"{number * step}-{(number + 1) * step - 1}", url),
            )
            for number in range(RANGES)
        ]
    )
    for number in range(RANGES):
        (folder / f"part{number}").unlink()
    return many_s


def even_out(folder: Path) -> None:
    """Let nobody pay for what others wrote before."""
    os.sync()
    use_memory(folder, 3 * LARGE_BYTES)


def dfget_large(folder: Path, url: str, settings: str) -> float:
    """Return the seconds of dfget through a daemon and a SuperNode, cold."""
    with swarm(folder, 1, settings) as sockets:
        output = f"{folder}/output"
        even_out(folder)
        command = (str(BIN / "dfget"), url, "-O", output, "--quiet", "--socket", sockets[0])
        last_s, _ = together([command])
    subprocess.run(["cmp", output, str(folder / "html" / "large")], check=True)
    Path(output).unlink()
    for name in ("sn", "d0"):
        shutil.rmtree(folder / name)
    return last_s


def capped(folder: Path) -> Iterator[str]:
    """Yield the rows of large files with a cap per connection."""
    (folder / "html").mkdir(exist_ok=True)
    content = folder / "html" / "large"
    write_random(content, LARGE_BYTES, 1)
    first = f"{FIRST_BYTE_S * 1000:.0f} ms to the first byte"
    yield f"1 GiB, {first}; direct: curl over {RANGES} ranges"
    yield f"{'':22}{'a connection':>14}{'direct s':>10}{'dfget s':>10}{'ratio':>8}"
    with nginx(folder) as (port, _):
        for cap in CAPS_BYTES_PER_S:
            url = f"http://127.0.0.1:{Relay(port, cap).port}/large"
            yield compared(folder, "nginx", cap, direct_url=url, url=url)
    with a_seaweed(folder / "weed", volumes_max=40, volume_mib=128) as endpoint:
        store_at(endpoint).put("large", content)
        secret = folder / "secret"
        secret.write_text(SECRET_KEY)
        for cap in CAPS_BYTES_PER_S:
            relay = f"http://127.0.0.1:{Relay(urlsplit(endpoint).port or 0, cap).port}"
            signed = obstore.sign(store_at(relay), "GET", "large", timedelta(seconds=3600))
            account = (
                f'[[supernode.source.accounts]]\nmatch = "s3://shelf/"\nuser = "{ACCESS_KEY}"\n'
                f'password_file = "{secret}"\nendpoint = "{relay}"\n'
            )
            yield compared(
                *(folder, "S3 (SeaweedFS)", cap),
                direct_url=signed,
                url="s3://shelf/large",
                settings=account,
            )


def compared(
    folder: Path, name: str, cap: float, *, direct_url: str, url: str, settings: str = ""
) -> str:
    """Return the row of one source."""
    rate = '[supernode]\nlink_rate = "10Gbit"\n'
    directs, ours = [], []
    for _ in range(TURNS):
        directs.append(direct(folder, direct_url))
        ours.append(dfget_large(folder, url, rate + settings))
    direct_s, ours_s = median(directs), median(ours)
    share = f"{cap / 1e6:.0f} MB/s"
    return f"{name:<22}{share:>14}{direct_s:10.2f}{ours_s:10.2f}{ours_s / direct_s:8.2f}"


PARTS = ("small", "capped")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; repeat")
    parser.add_argument("--result", type=Path, help="also write the tables to this file")
    parser.add_argument("--folder", help="where all of it is written; /dev/shm is no disk")
    parser.add_argument("--files", type=int, default=FILES, help="of `small`")
    arguments = parser.parse_args()
    kernel = platform.release().split("-")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"
    lines = [f"sources, {datetime.now(UTC):%Y-%m-%d}, {machine}"]
    print(lines[0], flush=True)
    for part in arguments.part or PARTS:
        with tempfile.TemporaryDirectory(prefix="sources-", dir=arguments.folder) as name:
            rows = small(Path(name), arguments.files) if part == "small" else capped(Path(name))
            for line in itertools.chain([""], rows):
                print(line, flush=True)
                lines.append(line)
    if arguments.result:
        arguments.result.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends
    main()
