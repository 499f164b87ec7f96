"""A SuperNode and daemons for engines, without an event loop: they may outlast a test."""

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from engines.programs import Program
from engines.registries import SomeRegistry

BIN = Path(sys.executable).parent / "damselfly"


class Daemon:
    """A daemon, and where engines reach it."""

    def __init__(self, program: Program, folder: Path, proxy: str) -> None:
        self._program = program
        self.folder, self.proxy = folder, proxy
        self.url = f"http://{proxy}"

    @property
    def log(self) -> str:
        """What it said so far."""
        return self._program.err.read_text()

    @property
    def pid(self) -> int:
        return self._program.pid

    def stop(self) -> None:
        self._program.stop()


class Swarm:
    """A SuperNode and daemons in a folder, with the settings of some registries.

    Args:
        folder: Where everything lies.
        settings: TOML of the daemons and the SuperNode.
        rate: Bytes per second of a host's link; 0 is the default.
        listen: Where the SuperNode listens.
        within: Command that starts the SuperNode, such as one that puts it into a namespace.
    """

    def __init__(
        self,
        folder: Path,
        settings: str = "",
        *,
        rate: int = 0,
        listen: str = "127.0.0.1:0",
        within: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self._config = folder / "damselfly.toml"
        folder.mkdir(parents=True, exist_ok=True)
        link = f"[supernode]\nlink_rate = {rate}\n" if rate else ""
        self._config.write_text(link + settings)
        data = ("--config", str(self._config), "--data", str(folder / "supernode"))
        flags = ("--listen", listen, *data)
        self._supernode = self._start("supernode", within, *flags)
        self.supernode = _first_line(self._supernode, r"listens on (\S+)")

    def daemon(
        self,
        name: str,
        *flags: str,
        listen: str = "127.0.0.1:0",
        within: Sequence[str] = (),
    ) -> Daemon:
        """Start a daemon."""
        data = self.folder / name
        where = ("--listen", listen, "--proxy", "127.0.0.1:0", "--supernode", self.supernode)
        files = ("--config", str(self._config), "--data", str(data))
        program = self._start("daemon", within, *where, *files, *flags, log=f"{name}-log")
        return Daemon(program, data, _first_line(program, r"proxy on (\S+)"))

    @property
    def supernode_log(self) -> str:
        """What the SuperNode said so far."""
        return self._supernode.err.read_text()

    def close(self) -> None:
        self._stack.close()

    def _start(self, role: str, within: Sequence[str], *flags: str, log: str = "") -> Program:
        program = Program([*within, str(BIN), role, *flags], self.folder / (log or f"{role}-log"))
        self._stack.callback(program.stop)
        return program


@contextlib.contextmanager
def a_swarm(folder: Path, settings: str = "") -> Iterator[Swarm]:
    """Give a SuperNode whose daemons end with the block."""
    swarm = Swarm(folder, settings)
    try:
        yield swarm
    finally:
        swarm.close()


def settings_of(*registries: SomeRegistry) -> str:
    """Return what daemons and SuperNode must know of registries; images of none are the first's."""
    lines = ["[daemon.mirror]", f'default = "{registries[0].host}"']
    for registry in registries:
        names = [f'name = "{registry.host}"', f'url = "{registry.url}"']
        names += [f'ca_file = "{registry.ca_file}"'] if registry.ca_file else []
        for part in ("daemon", "supernode"):
            lines += [f"[[{part}.registries]]", *names]
    return "\n".join(lines) + "\n"


def _first_line(program: Program, pattern: str) -> str:
    found = program.wait_ready(lambda: re.search(pattern, program.out.read_text()))
    return found[1]
