"""Names of images as people write them, and as URLs of their manifests.

`nginx`, `ghcr.io/org/app:v1`, `127.0.0.1:5000/app@sha256:…`, and what Harbor sends:
`https://harbor.example/v2/project/app/manifests/v1`.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from damselfly.core.urls import WEB, host_of, normalise_url
from damselfly.errors import RegistryPathError, UsageError
from damselfly.wire.registry_paths import (
    Kind,
    RegistryPath,
    parse_registry_name,
    parse_registry_path,
)

USUAL_REGISTRY: Final = "docker.io"
USUAL_TAG: Final = "latest"

_URL: Final = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image of a registry.

    Attributes:
        registry: Its name; of a URL, host and port.
        path: Of the manifest.
        base: Where the registry is, if a URL said so; else empty.
    """

    registry: str
    path: RegistryPath
    base: str = ""

    def __str__(self) -> str:
        separator = "@" if self.path.digest else ":"
        return f"{self.registry}/{self.path.name}{separator}{self.path.digest or self.path.tag}"


def parse_image_name(text: str) -> ImageName:
    """Return the image that a text names.

    Raises:
        UsageError: None; the message says what a name looks like.
    """
    try:
        return _from_url(text) if _URL.match(text) else _from_reference(text)
    except RegistryPathError as exc:
        raise UsageError(
            f"{text[:200]!r} is no name of an image: {exc.reason}; write it as "
            "registry.example/repository:tag or …@sha256:…"
        ) from exc


def is_manifest_url(text: str) -> bool:
    """Say whether a text is the URL of a manifest."""
    return bool(_URL.match(text) and re.search(r"/v2/.+/manifests/[^/]+$", text))


def is_file(text: str) -> bool:
    """Say whether a text is the URL of something that is no image: of any kind of source."""
    return "://" in text and not is_manifest_url(text)


def _from_url(text: str) -> ImageName:
    url = normalise_url(text, schemes=WEB)
    parts, host = urlsplit(url), host_of(url)
    path = parse_registry_path(parts.path)
    if path.kind is not Kind.MANIFEST:
        raise RegistryPathError(code="UNSUPPORTED", reason="the URL is of no manifest")
    return ImageName(host, path, base=f"{parts.scheme}://{host}")


def _from_reference(text: str) -> ImageName:
    first, slash, rest = text.partition("/")
    if not slash or not (set(".:") & set(first) or first == "localhost"):
        registry, rest = USUAL_REGISTRY, text
    else:
        registry = parse_registry_name(first)
    named, _, digest = rest.partition("@")
    name, colon, tag = named.partition(":")
    if registry == USUAL_REGISTRY and "/" not in name:
        name = f"library/{name}"
    if colon and not tag:
        raise RegistryPathError(code="MANIFEST_INVALID", reason="its tag is empty")
    # Who names a digest means it, whatever tag stands before it.
    return ImageName(
        registry, parse_registry_path(f"/v2/{name}/manifests/{digest or tag or USUAL_TAG}")
    )
