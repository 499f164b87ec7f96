"""What a manifest says of itself: its media type."""

from typing import Final

import msgspec

from damselfly.core.digest import Digest
from damselfly.errors import RemoteProtocolError, TaskSpecError
from damselfly.wire.json_values import UNREADABLE

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST_BYTES_MAX: Final = 16 << 20  # registries take 4 MiB

_MEDIA_CHARS_MAX = 255  # RFC 6838, twice 127 and the slash


class _Manifest(msgspec.Struct):
    """As much of a manifest as its type needs."""

    mediaType: str = ""  # noqa: N815  # the field's name
    manifests: list[msgspec.Raw] | None = None
    layers: list[msgspec.Raw] | None = None


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a manifest says of a content that it names."""

    mediaType: str  # noqa: N815  # the field's name
    digest: str
    size: int
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class _Naming(msgspec.Struct):
    """As much of a manifest as names other contents."""

    manifests: list[Descriptor] = msgspec.field(default_factory=list)
    layers: list[Descriptor] = msgspec.field(default_factory=list)
    config: Descriptor | None = None


_decoder: msgspec.json.Decoder[_Manifest] = msgspec.json.Decoder(_Manifest)
_naming_decoder: msgspec.json.Decoder[_Naming] = msgspec.json.Decoder(_Naming)


def contents_named(manifest: bytes) -> tuple[list[Descriptor], list[Descriptor]]:
    """Return the manifests that an index names, and the blobs that a manifest names.

    Raises:
        RemoteProtocolError: It is no manifest, or names what has no digest.
    """
    try:
        named = _naming_decoder.decode(manifest)
        blobs = [*([named.config] if named.config else []), *named.layers]
        for each in (*named.manifests, *blobs):
            Digest.parse(each.digest)
    except (*UNREADABLE, TaskSpecError) as exc:
        raise RemoteProtocolError("a manifest that names nothing that can be found") from exc
    return named.manifests, blobs


def media_type_of(manifest: bytes) -> str:
    """Return the media type of a manifest: an OCI one need not state it.

    Raises:
        RemoteProtocolError: It cannot be told; the registry must be asked.
    """
    try:
        told = _decoder.decode(manifest)
    except UNREADABLE as exc:
        raise RemoteProtocolError("a manifest that is no JSON") from exc
    if told.mediaType:
        if len(told.mediaType) > _MEDIA_CHARS_MAX or not _is_token(told.mediaType):
            raise RemoteProtocolError("a manifest with a media type that is none")
        return told.mediaType
    if told.manifests is not None:
        return OCI_INDEX
    if told.layers is not None:
        return OCI_MANIFEST
    raise RemoteProtocolError("a manifest of unknown kind")


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and "/" in text and " " not in text
