"""What a manifest says of itself: its media type."""

from typing import Final

import msgspec

from damselfly.errors import RemoteProtocolError
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


_decoder: msgspec.json.Decoder[_Manifest] = msgspec.json.Decoder(_Manifest)


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
