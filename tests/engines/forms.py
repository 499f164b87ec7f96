"""The forms of content that registries hold; each made once, all of different bytes."""

from collections.abc import Callable, Mapping

from engines.images import CONFIG, Blob, Image, artifact, docker_image, image, index, layer

KIB, MIB = 1 << 10, 1 << 20
WEIGHTS = "application/vnd.example.weights.v1+safetensors; precision=bf16"


def _multi_platform() -> Image:
    shared = layer(100 * KIB, "shared")
    return index(
        {
            architecture: image(shared, layer(300 * KIB, architecture), architecture=architecture)
            for architecture in ("amd64", "arm64", "s390x")
        }
    )


def _odd_artifact() -> Image:
    config = Blob("application/vnd.example.model.config.v2+json", b'{"parameters": 7}')
    return artifact(config, Blob(WEIGHTS, layer(MIB, "weights").data), Blob("text/x-odd", b"odd"))


# What an engine can unpack ...
IMAGES: Mapping[str, Callable[[], Image]] = {
    "gzip and plain": lambda: image(
        layer(5 * MIB, "a"), layer(MIB, "b", "none"), layer(10, "c"), layer(9 * KIB, "d")
    ),
    "zstd": lambda: image(layer(2 * MIB, "zstd", "zstd"), layer(KIB, "zstd-small", "zstd")),
    "docker": lambda: docker_image(layer(MIB, "docker"), layer(KIB, "docker-small")),
    "multi-platform": _multi_platform,
    "100 tiny layers": lambda: image(*(layer(200, f"tiny-{i}") for i in range(100))),
    "manifest of 1 MB": lambda: image(
        layer(KIB, "annotated"), annotations={"org.example.note": "x" * 1_000_000}
    ),
}

# ... and what it can only fetch. (containerd takes no content of 0 bytes, wherever it is from.)
ARTIFACTS: Mapping[str, Callable[[], Image]] = {
    "odd media types": _odd_artifact,
    "0-byte layer": lambda: artifact(
        Blob(CONFIG, b'{"empty": 1}'), Blob("application/octet-stream", b"")
    ),
}

FORMS = {**IMAGES, **ARTIFACTS}


def repository_of(form: str) -> str:
    return "public/" + form.lower().replace(" ", "-")


def digests(made: Image) -> set[str]:
    """Return the digests of all that an image is made of."""
    own = {made.digest, *(blob.digest for blob in made.blobs)}
    return own.union(*(digests(each) for each in made.platforms))
