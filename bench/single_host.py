"""One host: dfget against curl from the same nginx, cold and warm, unshaped on loopback.

"in the daemon" is the time that the daemon reports, without the start of the dfget process;
curl's is its own `time_total`. Medians; the ratio is dfget ÷ curl.

    python bench/single_host.py
"""

import argparse
import contextlib
import json
import os
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from memory import use_memory

BIN = Path(sys.executable).parent
SIZES = {"10 KB": (10_000, 9), "10 MB": (10_000_000, 7), "1 GiB": (1 << 30, 3)}


@contextlib.contextmanager
def program(*command: str, ready: str = "") -> Iterator[str]:
    """Run a program inside the block; gives what its first line matched."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        found = re.search(ready, process.stdout.readline().decode()) if ready else None
        yield found[1] if found else ""
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """Serve a folder; gives the base URL."""
    config = folder / "nginx.conf"
    port = 18099
    config.write_text(
        f"""
        daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; user root;
        events {{ worker_connections 256; }}
        http {{
            access_log off; sendfile on; tcp_nopush on;
            client_body_temp_path {folder}; proxy_temp_path {folder};
            fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
            server {{ listen 127.0.0.1:{port}; root {folder}; }}
        }}"""
    )
    with program("nginx", "-c", str(config), "-p", str(folder)):
        time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"


def curl(url: str, output: Path) -> float:
    """Return curl's own time."""
    done = subprocess.run(
        ["curl", "-sS", "-o", str(output), "-w", "%{time_total}", url],
        capture_output=True,
        check=True,
    )
    return float(done.stdout)


def dfget(url: str, output: Path, *flags: str) -> tuple[float, float]:
    """Return seconds as the daemon reports them, and of the whole process."""
    output.unlink(missing_ok=True)
    begun_s = time.perf_counter()
    done = subprocess.run(
        [str(BIN / "dfget"), url, "-O", str(output), "--json", "--quiet", *flags],
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)["seconds"], time.perf_counter() - begun_s


def write_random(path: Path, size: int, seed: int) -> None:
    """Write a file of random bytes."""
    rng = random.Random(seed)
    with path.open("wb") as file:
        for start in range(0, size, 1 << 24):
            file.write(rng.randbytes(min(1 << 24, size - start)))


def measure(base: str, folder: Path, socket: str, name: str) -> list[str]:
    """Return the rows of one size."""
    size, times = SIZES[name]
    content = folder / "content"
    curls, colds, warms = [], [], []
    for turn in range(times):
        write_random(content, size, turn)
        url = f"{base}/content?turn={turn}-{size}"  # cold: a task that nobody has
        output = folder / "output"
        use_memory(folder, 3 * size)
        curls.append((curl(url, output), 0.0))
        output.unlink()
        use_memory(folder, 3 * size)
        colds.append(dfget(url, output, "--socket", socket))
        warms.append(dfget(url, output, "--socket", socket))
    base_s = statistics.median(seconds for seconds, _ in curls)
    rows = [f"{name:<7}{'curl':<12}{base_s:10.4f}{'':10}{'':8}"]
    for kind, runs in (("dfget cold", colds), ("dfget warm", warms)):
        inside = statistics.median(seconds for seconds, _ in runs)
        whole = statistics.median(seconds for _, seconds in runs)
        rows.append(f"{name:<7}{kind:<12}{inside:10.4f}{whole:10.4f}{inside / base_s:8.2f}")
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--result", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    kernel = platform.release().split("-")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"
    lines = [
        f"one host on loopback, {datetime.now(UTC):%Y-%m-%d}, {machine}",
        "",
        f"{'size':<7}{'what':<12}{'seconds':>10}{'process':>10}{'/curl':>8}",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory(prefix="single-") as name, nginx(Path(name)) as base:
        folder = Path(name)
        listen = ("--listen", "127.0.0.1:0", "--log-level", "error")
        supernode = (str(BIN / "damselfly"), "supernode", *listen, "--data", f"{name}/sn")
        with program(*supernode, ready="listens on (.*)") as address:
            daemon = (str(BIN / "damselfly"), "daemon", *listen, "--data", f"{name}/d")
            with program(
                *daemon, "--proxy", "off", "--supernode", address, ready=r"and (\S+)"
            ) as socket:
                for size in SIZES:
                    rows = measure(base, folder, socket, size)
                    print("\n".join(rows), flush=True)
                    lines += rows
    if arguments.result:
        arguments.result.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
