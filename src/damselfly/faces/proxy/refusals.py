"""What a client of the proxy is told instead of an answer of its source."""

from aiohttp import web

from damselfly.errors import DamselflyError


class RefusedError(DamselflyError):
    """A request is not carried out; nothing of an answer has been sent."""

    def __init__(
        self, *, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.http_status, self.http_headers = status, headers
        super().__init__(text)


def answer_of(error: DamselflyError) -> web.Response:
    """Return what the client is told."""
    # The name of the program tells its answers from those of the source.
    answer = web.Response(status=error.http_status, text=f"damselfly proxy: {error}\n")
    for name, value in error.http_headers:
        answer.headers.add(name, value)
    return answer
