"""Who may use the API, and whose webhooks are believed.

With a token in the settings whoever shows it may, from anywhere; without one only this host.
The same goes for webhooks and their secret. Senders can show a secret in different ways, so
there are several; each is compared in constant time.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

from aiohttp import web

from damselfly.core.proxying.networks import is_loopback
from damselfly.errors import AccessDeniedError

TOKEN_HEADER: Final = "X-Damselfly-Token"  # noqa: S105  # its name
SECRET_PARAMETER: Final = "secret"  # noqa: S105  # its name
SIGNATURES: Final = ("X-Hub-Signature-256", "X-Damselfly-Signature")


class Access:
    """Knows one secret, or none."""

    def __init__(self, secret: str, *, what: str, setting: str) -> None:
        """Make it.

        Args:
            secret: The secret; empty: there is none.
            what: What it is called in messages.
            setting: The setting that has it.
        """
        self._secret = secret.encode()
        self._what = what
        self._setting = setting

    def check(
        self,
        request: web.Request,
        *,
        body: bytes = b"",
        in_query: bool = False,
        is_open_here: bool = True,
    ) -> None:
        """Check that a request may be carried out.

        Args:
            request: The request.
            body: What a signature may be about.
            in_query: The sender cannot send headers; the secret may stand in the URL.
            is_open_here: Without a secret in the settings, whoever is on this host may.

        Raises:
            AccessDeniedError: It may not.
        """
        if not self._secret:
            if is_open_here and is_loopback(_address(request)):
                return
            who = "only this host itself may ask" if is_open_here else "nobody may ask for this"
            hint = f"set {self._setting}, since without one {who}"
            raise AccessDeniedError(what=self._what, hint=hint)
        shown = [*_shown(request), *_signed(request)]
        if in_query:
            shown += [value.encode() for value in request.query.getall(SECRET_PARAMETER, ())]
        signature = hmac.new(self._secret, body, hashlib.sha256).hexdigest().encode()
        known = (self._secret, b"sha256=" + signature)
        # All are compared, whatever the first one says.
        matches = [hmac.compare_digest(each, right) for each in shown for right in known]
        if not any(matches):
            hint = f"it must be the one of the SuperNode's setting {self._setting}"
            raise AccessDeniedError(what=self._what, hint=hint)


def _address(request: web.Request) -> str:
    assert request.transport is not None
    peer = request.transport.get_extra_info("peername") or ("",)
    return str(peer[0])


def _shown(request: web.Request) -> list[bytes]:
    """Return what may be the secret itself: Bearer, Basic's password, the whole header."""
    shown = [value.encode() for value in request.headers.getall(TOKEN_HEADER, ())]
    for value in request.headers.getall("Authorization", ()):
        scheme, _, rest = value.partition(" ")
        shown.append(value.encode())
        if scheme.lower() == "bearer":
            shown.append(rest.strip().encode())
        elif scheme.lower() == "basic":
            try:
                shown.append(base64.b64decode(rest, validate=True).partition(b":")[2])
            except (ValueError, binascii.Error):
                continue
    return shown


def _signed(request: web.Request) -> list[bytes]:
    return [value.encode() for name in SIGNATURES for value in request.headers.getall(name, ())]
