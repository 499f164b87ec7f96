"""Many dfgets at once for one cold file through one SuperNode: how often is the source read?

python bench/crowd.py --count 200
"""

import argparse
import asyncio
import hashlib
import json
import os
import platform
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

BIN = Path(sys.executable).parent


async def line_of(process: asyncio.subprocess.Process) -> str:
    """Return the first line of a program."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def crowd(count: int, size: int, folder: Path) -> str:
    """Run the crowd and return a line about it."""
    script = str(Path(__file__).parents[1] / "scripts" / "file_server.py")
    started = []
    try:
        server = await asyncio.create_subprocess_exec(
            sys.executable, script, "--size", str(size), stdout=asyncio.subprocess.PIPE
        )
        started.append(server)
        url = await line_of(server)
        supernode = await asyncio.create_subprocess_exec(
            *(str(BIN / "damselfly"), "supernode", "--listen", "127.0.0.1:0"),
            *("--log-level", "error", "--data", str(folder / "supernode")),
            stdout=asyncio.subprocess.PIPE,
        )
        started.append(supernode)
        address = (await line_of(supernode)).split()[-1]
        begun_s = time.monotonic()
        gets = [
            await asyncio.create_subprocess_exec(
                *(str(BIN / "dfget"), url, "-O", str(folder / f"output-{number}")),
                *("--supernode", address, "--quiet"),
            )
            for number in range(count)
        ]
        codes = [await get.wait() for get in gets]
        seconds = time.monotonic() - begun_s
        used = resource.getrusage(resource.RUSAGE_CHILDREN)  # SuperNode and source still run
        cpu_s = used.ru_utime + used.ru_stime
        with urlopen(url.replace("/file", "/stats"), timeout=10) as answer:
            stats = json.load(answer)
    finally:
        for process in started:
            process.terminate()
            await process.wait()
    digests = {hashlib.sha256(path.read_bytes()).digest() for path in folder.glob("output-*")}
    failed = sum(code != 0 for code in codes)
    return (
        f"{count} dfgets for one cold file of {size} bytes: {seconds:.1f} s, "
        f"{cpu_s / count:.2f} CPU s each, {failed} failed, "
        f"{len(digests)} digest(s), source asked {stats['requests']}, "
        f"{stats['sent_bytes'] / size:.2f} x read"
    )


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=1 << 20)
    parser.add_argument("--result", type=Path, help="also write the line to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder:
        line = asyncio.run(crowd(arguments.count, arguments.size, Path(folder)))
    kernel = platform.release().split("-")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"
    text = f"{line}\n{datetime.now(UTC):%Y-%m-%d}, {machine}\n"
    print(text, end="")
    if arguments.result:
        arguments.result.write_text(text)


if __name__ == "__main__":
    main()
