"""A registry that lies: a `FakeSource` with images, whose contents take all its options."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fakes.source import FakeSource

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class FakeImage:
    """An image in a registry.

    Attributes:
        manifest: Its bytes.
        layers: Their bytes, by digest.
    """

    name: str
    tag: str
    manifest: bytes
    layers: dict[str, bytes]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def tag_path(self) -> str:
        return f"/v2/{self.name}/manifests/{self.tag}"

    @property
    def manifest_path(self) -> str:
        return f"/v2/{self.name}/manifests/{self.digest}"

    @property
    def blob_paths(self) -> list[str]:
        return [f"/v2/{self.name}/blobs/{digest}" for digest in self.layers]


class FakeRegistry(FakeSource):
    """A registry on loopback."""

    def add_image(
        self,
        name: str,
        tag: str,
        *layers: bytes,
        media_type: str = MANIFEST_TYPE,
        is_stated: bool = True,
        headers: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401  # of FakeContent
    ) -> FakeImage:
        """Put an image there; the options are those of all its contents."""
        by_digest = {digest_of(layer): layer for layer in layers}
        manifest = {
            "schemaVersion": 2,
            **({"mediaType": media_type} if is_stated else {}),
            "layers": [{"digest": each, "size": len(by_digest[each])} for each in by_digest],
        }
        image = FakeImage(name, tag, json.dumps(manifest).encode(), by_digest)
        more = dict(headers or {})
        told = {"Content-Type": media_type, "Docker-Content-Digest": image.digest, **more}
        for path in (image.tag_path, image.manifest_path):
            self.add(path, image.manifest, headers=told, **options)
        for path, layer in zip(image.blob_paths, layers, strict=True):
            self.add(path, layer, headers=more, **options)
        return image

    def add_index(self, name: str, tag: str, images: Mapping[str, FakeImage]) -> FakeImage:
        """Put an index there, of images that are in the same repository, by their platforms."""
        manifests = []
        for platform, image in images.items():
            system, architecture = platform.split("/")
            told = {"os": system, "architecture": architecture}
            size = len(image.manifest)
            manifests.append({"digest": image.digest, "size": size, "platform": told})
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
        image = FakeImage(name, tag, json.dumps(index).encode(), {})
        headers = {"Content-Type": INDEX_TYPE, "Docker-Content-Digest": image.digest}
        for path in (image.tag_path, image.manifest_path):
            self.add(path, image.manifest, headers=headers)
        return image

    @property
    def host(self) -> str:
        """The registry's name: `host:port`."""
        return self.url("").partition("://")[2]
