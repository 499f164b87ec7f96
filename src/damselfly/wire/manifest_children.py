"""What a manifest names, and for which platforms: the contents of an image."""

from dataclasses import dataclass
from typing import Final

import msgspec

from damselfly.core.digest import Digest
from damselfly.core.preheating.platforms import Platform
from damselfly.errors import RemoteProtocolError, TaskSpecError, UsageError
from damselfly.wire.json_values import UNREADABLE
from damselfly.wire.manifests import OCI_INDEX, OCI_MANIFEST

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES: Final = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)

_CHILDREN_MAX: Final = 10_000


class _PlatformTold(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class _DescriptorTold(msgspec.Struct):
    digest: str
    mediaType: str = ""  # noqa: N815  # the field's name
    size: int = -1
    platform: _PlatformTold | None = None
    urls: list[str] | None = None


class _ManifestTold(msgspec.Struct):
    """A manifest with what it names."""

    config: _DescriptorTold | None = None
    layers: list[_DescriptorTold] | None = None
    blobs: list[_DescriptorTold] | None = None
    manifests: list[_DescriptorTold] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A content that a manifest names.

    Attributes:
        platform: Of an image of an index; None: for none, such as an attestation.
        is_elsewhere: The registry does not have it: a foreign layer.
    """

    digest: Digest
    media_type: str = ""
    size_bytes: int = -1
    platform: Platform | None = None
    is_elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """What a manifest names.

    Attributes:
        images: Of an index: other manifests.
        config: Of an image.
        layers: Of an image.
    """

    images: tuple[Descriptor, ...] = ()
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers that the registry has."""
        here = tuple(each for each in self.layers if not each.is_elsewhere)
        return here if self.config is None else (self.config, *here)


_children_decoder: msgspec.json.Decoder[_ManifestTold] = msgspec.json.Decoder(_ManifestTold)


def children_of(manifest: bytes) -> Children:
    """Return what a manifest names.

    Raises:
        RemoteProtocolError: It is no manifest.
    """
    try:
        told = _children_decoder.decode(manifest)
    except UNREADABLE as exc:
        raise RemoteProtocolError("a manifest that is none") from exc
    images, layers = told.manifests or [], told.layers or told.blobs or []
    if len(images) + len(layers) > _CHILDREN_MAX:
        raise RemoteProtocolError("a manifest that names too much")
    if not (images or layers or told.config):
        raise RemoteProtocolError("a manifest of unknown kind")
    return Children(
        images=tuple(_descriptor(each) for each in images),
        config=_descriptor(told.config) if told.config else None,
        layers=tuple(_descriptor(each) for each in layers),
    )


def _descriptor(told: _DescriptorTold) -> Descriptor:
    try:
        digest = Digest.parse(told.digest)
    except TaskSpecError as exc:
        raise RemoteProtocolError("a manifest with a digest that is none") from exc
    return Descriptor(
        digest=digest,
        media_type=told.mediaType,
        size_bytes=max(told.size, -1),
        platform=_platform(told.platform) if told.platform else None,
        is_elsewhere=bool(told.urls),
    )


def _platform(told: _PlatformTold) -> Platform | None:
    """Return a platform; None for `unknown/unknown`, as attestations have, and what is none."""
    if told.os == "unknown":
        return None
    text = "/".join(part for part in (told.os, told.architecture, told.variant) if part)
    try:
        return Platform.parse(text)
    except UsageError:
        return None
