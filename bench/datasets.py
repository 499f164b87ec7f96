"""Contents for benchmarks, made on the spot from what a machine has: none of zeros alone.

    python bench/datasets.py FOLDER 64

writes each as a file of so many MB.
"""

import gzip
import io
import json
import random
import struct
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

SEED = 4
MB = 1_000_000


def _tar(files: Iterator[Path], size_bytes: int) -> bytes:
    """Return a tar of files up to a size, cut there."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            if path.is_file() and not path.is_symlink():
                archive.add(path, arcname=str(path).lstrip("/"))
            if buffer.tell() >= size_bytes:
                break
    data = buffer.getvalue()
    while len(data) < size_bytes:  # a small machine: once more, beyond any codec's window
        data += data
    return data[:size_bytes]


def python_environment(size_bytes: int) -> bytes:
    """Return a tar of installed Python packages: sources, byte code, some libraries."""
    folder = Path(sysconfig.get_paths()["purelib"])
    return _tar((path for path in sorted(folder.rglob("*"))), size_bytes)


def elf_libraries(size_bytes: int) -> bytes:
    """Return a tar of shared libraries."""
    folders = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib"))
    found = sorted({path for folder in folders for path in folder.glob("*.so*")})
    random.Random(SEED).shuffle(found)
    return _tar(iter(found), size_bytes)


def json_logs(size_bytes: int) -> bytes:
    """Return lines as services log them: few shapes, many values."""
    rng = random.Random(SEED)
    hosts = [f"node-{number:03}.example" for number in range(200)]
    paths = [f"/api/v{rng.randint(1, 3)}/{rng.randbytes(4).hex()}" for _ in range(300)]
    buffer, time_s = bytearray(), 1_700_000_000.0
    while len(buffer) < size_bytes:
        time_s += rng.expovariate(200)
        line = {
            "time": round(time_s, 6),
            "level": rng.choices(["info", "warning", "error"], [95, 4, 1])[0],
            "host": rng.choice(hosts),
            "request": rng.randbytes(8).hex(),
            "path": rng.choice(paths),
            "status": rng.choices([200, 304, 404, 500], [90, 5, 4, 1])[0],
            "bytes": int(rng.lognormvariate(8, 2)),
            "seconds": round(rng.lognormvariate(-4, 1), 6),
        }
        buffer += json.dumps(line).encode() + b"\n"
    return bytes(buffer[:size_bytes])


def bf16_weights(size_bytes: int) -> bytes:
    """Return a safetensors file with one tensor of bf16 drawn from a normal distribution."""
    head_bytes = 128
    count = (size_bytes - head_bytes) // 2
    weights = np.random.default_rng(SEED).normal(0.0, 0.02, count).astype(np.float32)
    bf16 = (weights.view(np.uint32) >> 16).astype("<u2").tobytes()
    tensor = {"dtype": "BF16", "shape": [count], "data_offsets": [0, len(bf16)]}
    head = json.dumps({"weight": tensor}).encode().ljust(head_bytes - 8)
    return struct.pack("<Q", len(head)) + head + bf16


def gzipped_tar(size_bytes: int) -> bytes:
    """Return the tar of Python packages, gzipped."""
    data = gzip.compress(python_environment(4 * size_bytes), compresslevel=6, mtime=0)
    while len(data) < size_bytes:
        data += gzip.compress(elf_libraries(4 * size_bytes), compresslevel=6, mtime=0)
    return data[:size_bytes]


def random_bytes(size_bytes: int) -> bytes:
    """Return bytes that nothing compresses."""
    rng = random.Random(SEED)  # it makes 256 MB at a time at most
    return b"".join(rng.randbytes(min(MB, size_bytes - at)) for at in range(0, size_bytes, MB))


def mixed(size_bytes: int) -> bytes:
    """Return a sixth of each of the others."""
    makers = [make for name, make in DATA_SETS.items() if name != "mix"]
    part = size_bytes // len(makers) + 1
    return b"".join(make(part) for make in makers)[:size_bytes]


DATA_SETS: dict[str, Callable[[int], bytes]] = {
    "python": python_environment,
    "elf": elf_libraries,
    "json": json_logs,
    "bf16": bf16_weights,
    "gzip": gzipped_tar,
    "random": random_bytes,
    "mix": mixed,
}


def write_all(folder: Path, size_mb: int, names: list[str] | None = None) -> dict[str, Path]:
    """Write the contents into a folder, those that are not there; return {name: file}."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}-{size_mb}.bin" for name in names or DATA_SETS}
    for name, path in paths.items():
        if not path.exists():
            path.write_bytes(DATA_SETS[name](size_mb * MB))
    return paths


if __name__ == "__main__":
    for made, where in write_all(Path(sys.argv[1]), int(sys.argv[2])).items():
        print(made, where)
