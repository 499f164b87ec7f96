"""What the parts of `pull.py` share: swarms, images, clients, and lines with a target."""

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from engines.images import Image, image, layer
from engines.registries import Registry

MB, MIB = 1_000_000, 1 << 20
REPOSITORY = "bench/image"
LAYERS_MB = (5, 20, 50, 75, 150)  # 300 MB in all, as a usual image has it: few are large


def line(what: str, value: float, unit: str, target: str = "", *, is_met: bool = True) -> str:
    """Return a number with its unit and its target."""
    verdict = f"   target {target}: {'met' if is_met else 'MISSED'}" if target else ""
    return f"{what:<58}{value:10.2f} {unit:<6}{verdict}"


def at_most(what: str, value: float, limit: float, unit: str = "") -> str:
    """Return a number that should not be above a limit."""
    return line(what, value, unit, f"<= {limit:g} {unit}".strip(), is_met=value <= limit)


def an_image(seed: object, *, total_mb: int = 300) -> Image:
    """Return an image of five layers that nobody has."""
    scale = total_mb / sum(LAYERS_MB)
    sizes = [int(each * scale * MB) for each in LAYERS_MB]
    return image(*(layer(size, f"{seed}-{number}") for number, size in enumerate(sizes)))


def size_of(made: Image) -> int:
    """Return the bytes of the blobs of an image."""
    return sum(len(blob.data) for blob in made.blobs)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has held."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def forget_peak(pid: int) -> None:
    """Begin to measure `peak_bytes` anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextlib.contextmanager
def a_registry(folder: Path, listen: str, within: Sequence[str] = ()) -> Iterator[Registry]:
    """Give a registry that ends with the block."""
    place = folder / f"registry-{len([*folder.iterdir()])}"
    registry = Registry(place, folder / "storage", listen=listen, within=within)
    try:
        yield registry
    finally:
        registry.stop()


class Skopeo:
    """skopeo as one host's engine."""

    def __init__(self, folder: Path, *, registry: str, mirror: str = "") -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._output = folder / "image"
        text = f'[[registry]]\nprefix = "{registry}"\nlocation = "{registry}"\ninsecure = true\n'
        if mirror:
            name = registry.replace(":", "_")  # no colon in a path
            text += f'[[registry.mirror]]\nlocation = "{mirror}/{name}"\ninsecure = true\n'
        (folder / "registries.conf").write_text(text)

    def command(self, reference: str) -> list[str]:
        """Return what pulls an image."""
        conf = ("--registries-conf", str(self._folder / "registries.conf"))
        copy = ("copy", "-q", "--preserve-digests", f"docker://{reference}", f"dir:{self._output}")
        return ["skopeo", "--insecure-policy", *conf, *copy]

    def pull(self, reference: str) -> float:
        """Return the seconds that a pull takes; it has nothing of it yet."""
        self.forget()
        begun_s = time.perf_counter()
        subprocess.run(self.command(reference), check=True, stdin=subprocess.DEVNULL)
        return time.perf_counter() - begun_s

    def holds(self, made: Image) -> bool:
        """Tell whether it has all of an image; skopeo has checked the digests."""
        sizes = {path.name: path.stat().st_size for path in self._output.iterdir()}
        return all(
            sizes.get(blob.digest.partition(":")[2]) == len(blob.data) for blob in made.blobs
        )

    def forget(self) -> None:
        """Remove what it pulled."""
        if self._output.exists():
            for path in self._output.iterdir():
                path.unlink()
