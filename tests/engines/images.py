"""Images for tests, made in memory: any layers, media types and platforms, pushed by plain HTTP.

Every layer holds random bytes of its own seed, so that no test finds the layers of another in a
cache by chance. Random bytes do not compress: gzip stores them, at memory speed.
"""

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPConnection
from typing import Any, Literal
from urllib.parse import urlsplit

import zstandard

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
INDEX, MANIFEST, CONFIG = f"{OCI}.index.v1+json", f"{OCI}.manifest.v1+json", f"{OCI}.config.v1+json"
STEP_BYTES = 1 << 24  # randbytes makes one number of what it is asked for
CREATED = "2025-01-01T00:00:00Z"

Compression = Literal["none", "gzip", "zstd"]
_LAYER_TYPES: Mapping[Compression, str] = {
    "none": f"{OCI}.layer.v1.tar",
    "gzip": f"{OCI}.layer.v1.tar+gzip",
    "zstd": f"{OCI}.layer.v1.tar+zstd",
}


@dataclass(frozen=True)
class Blob:
    """Bytes with a media type."""

    media_type: str
    data: bytes = field(repr=False)
    diff_id: str = ""

    @cached_property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    def descriptor(self, **more: object) -> dict[str, object]:
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.data),
            **more,
        }


@dataclass(frozen=True)
class Image:
    """A manifest and what it names: blobs, or the images of an index."""

    manifest: Blob
    blobs: tuple[Blob, ...] = ()
    platforms: tuple["Image", ...] = ()

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def layers(self) -> tuple[Blob, ...]:
        return self.blobs[1:]


def _as_json(value: Any) -> bytes:  # noqa: ANN401
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _random_bytes(size: int, seed: str) -> bytes:
    rng = random.Random(seed)
    steps = (min(STEP_BYTES, size - start) for start in range(0, size, STEP_BYTES))
    return b"".join(rng.randbytes(step) for step in steps)


def _tar(size: int, seed: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(f"layer-{seed}")
        info.size = size
        tar.addfile(info, io.BytesIO(_random_bytes(size, seed)))
    return out.getvalue()


def layer(size: int, seed: object, compression: Compression = "gzip") -> Blob:
    """Return a layer with one file of random bytes."""
    tar = _tar(size, str(seed))
    diff_id = f"sha256:{hashlib.sha256(tar).hexdigest()}"
    return Blob(_LAYER_TYPES[compression], _compressed(tar, compression), diff_id)


def _compressed(tar: bytes, compression: Compression) -> bytes:
    match compression:
        case "none":
            return tar
        case "gzip":
            return gzip.compress(tar, compresslevel=0, mtime=0)
        case "zstd":
            return zstandard.ZstdCompressor(level=1).compress(tar)


def image(
    *layers: Blob, architecture: str = "amd64", annotations: Mapping[str, str] | None = None
) -> Image:
    """Return an image that an engine can unpack."""
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": CREATED,
        "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        "history": [{"created": CREATED, "created_by": each.digest} for each in layers],
    }
    return artifact(Blob(CONFIG, _as_json(config)), *layers, annotations=annotations)


def artifact(config: Blob, *layers: Blob, annotations: Mapping[str, str] | None = None) -> Image:
    """Return a manifest of whatever it is given."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": [each.descriptor() for each in layers],
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    return Image(Blob(MANIFEST, _as_json(manifest)), (config, *layers))


def docker_image(*layers: Blob) -> Image:
    """Return an image in Docker's own media types, as most registries still hold."""
    oci = image(*layers)
    config_type = f"{DOCKER}.container.image.v1+json"
    layer_type = f"{DOCKER}.image.rootfs.diff.tar.gzip"
    config = Blob(config_type, oci.blobs[0].data)
    blobs = (config, *(Blob(layer_type, each.data, each.diff_id) for each in layers))
    manifest_type = f"{DOCKER}.distribution.manifest.v2+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": config.descriptor(),
        "layers": [each.descriptor() for each in blobs[1:]],
    }
    return Image(Blob(manifest_type, _as_json(manifest)), blobs)


def index(platforms: Mapping[str, Image]) -> Image:
    """Return an index of {architecture: image}."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            each.manifest.descriptor(platform={"architecture": architecture, "os": "linux"})
            for architecture, each in platforms.items()
        ],
    }
    return Image(Blob(INDEX, _as_json(manifest)), platforms=tuple(platforms.values()))


class Pusher:
    """Puts images into a registry that lets everybody write."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = HTTPConnection(parts.hostname, parts.port)

    def close(self) -> None:
        self._connection.close()

    def push(self, repository: str, tags: Sequence[str], image: Image) -> None:
        """Push an image, under its digest and the tags."""
        for each in image.platforms:
            self.push(repository, (), each)
        for blob in image.blobs:
            self._push_blob(repository, blob)
        for reference in (image.digest, *tags):
            path = f"/v2/{repository}/manifests/{reference}"
            self._send("PUT", path, image.manifest.data, image.manifest.media_type)

    def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest and its tags."""
        self._send("DELETE", f"/v2/{repository}/manifests/{digest}")

    def _push_blob(self, repository: str, blob: Blob) -> None:
        place = urlsplit(self._send("POST", f"/v2/{repository}/blobs/uploads/"))
        path = f"{place.path}?{place.query}&digest={blob.digest}"
        self._send("PUT", path, blob.data, "application/octet-stream")

    def _send(self, method: str, path: str, body: bytes = b"", media_type: str = "") -> str:
        headers = {"Content-Type": media_type} if media_type else {}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status in {201, 202}, f"{method} {path}: {answer.status} {text[:200]!r}"
        return answer.getheader("Location", "")
