"""What a client of the proxy is told instead of an answer of its source."""

from collections.abc import Mapping

from aiohttp import web


class RefusedError(Exception):
    """A request is not carried out; nothing of an answer has been sent.

    Attributes:
        status: The HTTP status.
        headers: Of the answer.
    """

    def __init__(self, *, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers = dict(headers or {})
        super().__init__(text)

    def answer(self) -> web.Response:
        """Return what the client is told."""
        # The name of the program tells its answers from those of the source.
        return web.Response(
            status=self.status, text=f"damselfly proxy: {self}\n", headers=self.headers
        )
