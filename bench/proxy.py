"""The HTTP proxy against going straight: a large file and many small ones, from one nginx.

`forward` is plain HTTP passed on, `tunnel` a CONNECT that nobody touches, `opened` one that a
rule opens, and `p2p` the same content from the daemon's cache. Medians; the ratio is to the
same client going straight, by http or by https.

    python bench/proxy.py
"""

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from single_host import BIN, program, write_random

LARGE_BYTES, SMALL_BYTES, SMALL_COUNT, TURNS = 512 << 20, 10_000, 200, 3
HTTP, HTTPS = 18096, 18097
PEM = Path(__file__).resolve().parents[1] / "tests" / "fakes" / "tls" / "loopback.pem"
SETTINGS = f"""
[daemon.source]
ca_file = "{PEM}"
[daemon.proxy]
connect_ports = [{HTTPS}]
"""
RULES = """
[[daemon.proxy.rules]]
action = "p2p"
host = "127.0.0.1"
path = "/shared/**"
"""


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[None]:
    """Serve a folder by http and https."""
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; user root;
        events {{ worker_connections 256; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
            client_body_temp_path {folder}; proxy_temp_path {folder};
            fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
            server {{
                listen 127.0.0.1:{HTTP}; listen 127.0.0.1:{HTTPS} ssl; root {folder}/www;
                ssl_certificate {PEM}; ssl_certificate_key {PEM};
            }}
        }}"""
    )
    with program("nginx", "-c", str(config), "-p", str(folder)):
        time.sleep(0.5)
        yield


@contextlib.contextmanager
def a_daemon(folder: Path, name: str, settings: str) -> Iterator[list[str]]:
    """Run a daemon; gives curl's flags to use it as a proxy and to trust its CA."""
    config = folder / f"{name}.toml"
    config.write_text(settings)
    where = ("--listen", "127.0.0.1:0", "--proxy", "127.0.0.1:0", "--data", f"{folder}/{name}")
    flags = ("--config", str(config), "--log-level", "error")
    with program(str(BIN / "damselfly"), "daemon", *where, *flags, ready=r"proxy on (\S+)") as at:
        yield ["--proxy", f"http://{at}", "--noproxy", ""]


def curl(*arguments: str) -> float:
    """Return the seconds that a curl took for all it was to fetch."""
    begun_s = time.perf_counter()
    subprocess.run(["curl", "-sSf", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun_s


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--result", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    kernel = platform.release().split("-")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"
    large = f"{LARGE_BYTES >> 20} MiB, s"
    small = f"{SMALL_COUNT} x {SMALL_BYTES // 1000} KB, s"
    lines = [
        f"HTTP proxy on loopback, {datetime.now(UTC):%Y-%m-%d}, {machine}",
        "",
        f"{'':<16}{large:>14}{'/straight':>11}{small:>20}{'/straight':>11}",
    ]
    with tempfile.TemporaryDirectory(prefix="proxy-") as name, nginx(folder := Path(name)):
        for part in ("", "shared"):
            (folder / "www" / part).mkdir(parents=True, exist_ok=True)
            write_random(folder / "www" / part / "large", LARGE_BYTES, 1)
            write_random(folder / "www" / part / "small", SMALL_BYTES, 2)
        with (
            a_daemon(folder, "plain", SETTINGS) as plain,
            a_daemon(folder, "ruled", SETTINGS + RULES) as ruled,
        ):
            own = ["--cacert", str(PEM)]
            ours = ["--cacert", f"{name}/ruled/ca/ca.pem"]
            http, https = f"http://127.0.0.1:{HTTP}", f"https://127.0.0.1:{HTTPS}"
            base: list[float] = []
            for what, flags, url in (
                ("http straight", [], http),
                ("forward", plain, http),
                ("p2p, cached", ruled, f"{http}/shared"),
                ("https straight", own, https),
                ("tunnel", [*plain, *own], https),
                ("opened", [*ruled, *ours], https),
                ("opened, cached", [*ruled, *ours], f"{https}/shared"),
            ):
                took = []
                for path in ("large", f"small?[1-{SMALL_COUNT}]"):
                    curl(*flags, f"{url}/{path}")  # what is cached is there afterwards
                    runs = [curl(*flags, f"{url}/{path}") for _ in range(TURNS)]
                    took.append(statistics.median(runs))
                if what.endswith("straight"):
                    base = took
                cells = "".join(
                    f"{seconds:>{width}.3f}{seconds / straight:>11.2f}"
                    for seconds, straight, width in zip(took, base, (14, 20), strict=True)
                )
                lines.append(f"{what:<16}{cells}")
    print("\n".join(lines))
    if arguments.result:
        arguments.result.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
