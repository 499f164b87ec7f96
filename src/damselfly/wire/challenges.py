"""What a WWW-Authenticate header asks for, as far as registries use it (RFC 9110, 11.6.1)."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


def parse_challenge(lines: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Return scheme and words of the first challenge that is understood; empty: there is none."""
    for line in lines:
        scheme, _, rest = line.partition(" ")
        if scheme.lower() in ("bearer", "basic"):
            return scheme.lower(), dict(_PARAMETER.findall(rest))
    return "", {}


def token_url(
    words: Mapping[str, str], scopes: Iterable[str], more: Iterable[tuple[str, str]] = ()
) -> str:
    """Return where the words of a Bearer challenge say that a token for some scopes is given."""
    query = [("service", words["service"])] if "service" in words else []
    query += [("scope", scope) for scope in scopes]
    realm = words.get("realm", "")
    return f"{realm}{'&' if '?' in realm else '?'}{urlencode([*query, *more])}"
