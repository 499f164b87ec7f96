"""Talks to a SuperNode's API, with what the standard library has: a command starts quickly."""

import http.client
import os
from typing import Any, Final

from damselfly.core.urls import is_host_port
from damselfly.errors import SuperNodeUnreachableError, UsageError
from damselfly.wire.told_errors import revive

TIMEOUT_S: Final = 30.0
USUAL_ADDRESS: Final = "127.0.0.1:8002"
ERRORS: Final = range(400, 600)


class SuperNodeClient:
    """Asks the API of one SuperNode."""

    def __init__(self, address: str, *, token_file: str = "") -> None:
        self._address = address or os.environ.get("DAMSELFLY_SUPERNODE", "") or USUAL_ADDRESS
        self._token = _token(token_file)

    def ask(
        self, method: str, path: str, body: bytes = b"", *, timeout_s: float | None = TIMEOUT_S
    ) -> Any:  # noqa: ANN401  # JSON
        """Return the answer to a request.

        Raises:
            SuperNodeUnreachableError: There is none.
            DamselflyError: It is an error.
        """
        import json  # noqa: PLC0415  # --help is quick

        if not is_host_port(self._address):
            raise UsageError(f"{self._address!r} is no HOST:PORT of a SuperNode")
        host, _, port = self._address.rpartition(":")
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout_s)
            try:
                connection.request(method, path, body or None, headers)
                answer = connection.getresponse()
                text = answer.read()
            finally:
                connection.close()
            told = json.loads(text)
        except (OSError, http.client.HTTPException) as exc:
            reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            raise SuperNodeUnreachableError(address=self._address, reason=reason) from exc
        except ValueError as exc:
            reason = "what answers there is no SuperNode with this API"
            raise SuperNodeUnreachableError(address=self._address, reason=reason) from exc
        if answer.status in ERRORS:
            raise revive(told["error"], told["message"], http_status=answer.status)
        return told


def _token(file: str) -> str:
    if not file:
        return os.environ.get("DAMSELFLY_API_TOKEN", "").strip()
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{file} cannot be read: {getattr(exc, 'strerror', exc)}") from exc
