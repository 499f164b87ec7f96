"""Other people's programs in tests: started in a folder of their own, ended by their process id."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

START_S = 40.0
STOP_S = 15.0
ASK_AGAIN_S = 0.02
# A kernel gives none of these to whoever asks for any port, nor those that lie 10,000 above.
_PORTS = range(10_000, 20_000)
_ports = itertools.islice(itertools.cycle(_PORTS), os.getpid() % len(_PORTS), None)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody has, for a program that cannot choose one itself.

    Nobody is given it by chance before the program takes it, and no other caller is.
    """
    while True:
        port = next(_ports)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind((host, port))
            return port


def accepts(host: str, port: int) -> bool:
    """Tell whether somebody listens."""
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


class Program:
    """A program that runs until `stop`; its output is in files of the folder."""

    def __init__(
        self, command: Sequence[str], folder: Path, *, env: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.out, self.err = folder / "stdout", folder / "stderr"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self, ready: Callable[[], T | None]) -> T:
        """Return what `ready` gives once it is true."""
        deadline_s = time.monotonic() + START_S  # noqa: TID251  # how long a start may take
        while not (found := ready()):
            if self._process.poll() is not None or time.monotonic() > deadline_s:  # noqa: TID251
                self.stop()
                said = self.err.read_text(errors="replace")[-1000:]
                raise AssertionError(f"{self._process.args!r} did not start: {said}")
            time.sleep(ASK_AGAIN_S)
        return found

    def stop(self) -> None:
        """End it, with force if it does not want to."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
