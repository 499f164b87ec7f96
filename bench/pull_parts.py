"""What the parts of `pull.py` share: swarms, images, clients, and lines with a target."""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.images import Image, image, layer
from engines.programs import Program
from engines.registries import Registry

BIN = Path(sys.executable).parent
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


@dataclass(frozen=True)
class Daemon:
    """A daemon, and where engines reach it."""

    program: Program
    proxy: str

    @property
    def peak_bytes(self) -> int:
        """The most memory that it has held."""
        status = Path(f"/proc/{self.program.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) << 10

    def forget_peak(self) -> None:
        """Begin to measure `peak_bytes` anew."""
        Path(f"/proc/{self.program.pid}/clear_refs").write_text("5")


class Swarm:
    """A SuperNode and daemons, with the settings that a registry without TLS needs."""

    def __init__(self, folder: Path, registry: str, stack: contextlib.ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._config = folder / "damselfly.toml"
        self._config.write_text(settings(registry))

    def supernode(self, listen: str, *, within: Sequence[str] = (), rate: int = 0) -> str:
        """Start the SuperNode; gives its address."""
        config = self._folder / "supernode.toml"
        config.write_text(f"[supernode]\nlink_rate = {rate}\n" if rate else "")
        data = ("--data", str(self._folder / "supernode"), "--config", str(config))
        command = [*within, str(BIN / "damselfly"), "supernode", "--listen", listen, *data]
        program = self._start("supernode-log", command)
        return _first_line(program, r"listens on (\S+)")

    def daemon(
        self, name: str, supernode: str, *, listen: str, within: Sequence[str] = ()
    ) -> Daemon:
        """Start a daemon."""
        data = ("--data", str(self._folder / name), "--config", str(self._config))
        where = ("--listen", listen, "--proxy", "127.0.0.1:0", "--supernode", supernode)
        command = [*within, str(BIN / "damselfly"), "daemon", *where, *data]
        program = self._start(f"{name}-log", command)
        return Daemon(program, _first_line(program, r"proxy on ([\d.:]+)"))

    def _start(self, name: str, command: Sequence[str]) -> Program:
        program = Program([*command, "--log-level", "warning"], self._folder / name)
        self._stack.callback(program.stop)
        return program


def settings(registry: str) -> str:
    """Return the daemon's settings for a registry without TLS."""
    return f'[[daemon.registries]]\nname = "{registry}"\naddress = "http://{registry}"\n'


def _first_line(program: Program, pattern: str) -> str:
    found = program.wait_ready(lambda: re.search(pattern, program.out.read_text()))
    return found[1]


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
            text += f'[[registry.mirror]]\nlocation = "{mirror}/{registry}"\ninsecure = true\n'
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
