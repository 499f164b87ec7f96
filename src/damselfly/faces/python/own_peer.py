"""A peer in a thread of this program, for hosts on which no daemon runs."""

import asyncio
import atexit
import contextlib
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Final

from damselfly.errors import DamselflyError

START_S: Final = 30.0


class OwnPeer:
    """Runs until it is closed.

    Attributes:
        socket: Path by which it is spoken with.
    """

    def __init__(self, supernode: str) -> None:
        """Start it.

        Args:
            supernode: `host:port`; empty: none, contents come directly from their sources.

        Raises:
            DamselflyError: It cannot start.
        """
        self.socket = ""
        self._supernode = supernode
        self._folder = Path(tempfile.mkdtemp(prefix="damselfly-"))  # short: a socket goes in it
        # A program may end without closing; the thread ends with it, and the folder must, too.
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        self._error: DamselflyError | None = None
        self._is_ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="damselfly peer", daemon=True)
        self._thread.start()
        self._is_ready.wait(START_S)
        if not self.socket:
            self.close()
            raise self._why_not()

    def _why_not(self) -> DamselflyError:
        return self._error or DamselflyError("a peer of this program did not start")

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except DamselflyError as exc:
            self._error = exc
        except BaseExceptionGroup as group:
            ours, _ = group.split(DamselflyError)
            self._error = DamselflyError(str(ours or group))
        finally:
            self._is_ready.set()

    async def _serve(self) -> None:
        from damselfly.services.hosting.own_peer import serving_locally  # noqa: PLC0415  # 200 ms
        from damselfly.services.options import EphemeralOptions  # noqa: PLC0415
        from damselfly.telemetry.log import set_up_quiet_log  # noqa: PLC0415

        set_up_quiet_log()
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options = EphemeralOptions(supernode=self._supernode)
        async with serving_locally(options, self._folder) as self.socket:
            self._is_ready.set()
            await self._stop.wait()

    def close(self) -> None:
        """Stop it, and throw its cache away."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it ended just now
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)
        shutil.rmtree(self._folder, ignore_errors=True)
