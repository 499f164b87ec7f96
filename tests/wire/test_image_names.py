"""Guards names of images: what people write, what registries send, and nothing else."""

import pytest

from damselfly.errors import UsageError
from damselfly.wire.image_names import is_file, is_manifest_url, parse_image_name

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("org/app", "docker.io/org/app:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("localhost/app:v1", "localhost/app:v1"),
        ("GHCR.io/org/app:v1", "ghcr.io/org/app:v1"),
        ("127.0.0.1:5000/lib/app", "127.0.0.1:5000/lib/app:latest"),
        (f"127.0.0.1:5000/app:v1@{DIGEST}", f"127.0.0.1:5000/app@{DIGEST}"),
        ("https://h.example/v2/p/app/manifests/v1", "h.example/p/app:v1"),
        (f"http://h.example:80/v2/p/app/manifests/{DIGEST}", f"h.example/p/app@{DIGEST}"),
    ],
)
def test_image_is_named(text: str, name: str) -> None:
    assert str(parse_image_name(text)) == name


def test_url_says_where_the_registry_is() -> None:
    assert parse_image_name("http://h.example/v2/a/manifests/b").base == "http://h.example"
    assert parse_image_name("h.example/a:b").base == ""


@pytest.mark.parametrize(
    "text",
    [
        *("", "a b", "UPPER", "a:", "a/../b", "-.example/a", "a@sha256:1", "https://h/a"),
        *("https://h/v2/a/blobs/" + DIGEST, "https://h/v2/a/manifests/"),
    ],
)
def test_name_that_is_none_is_told_what_one_looks_like(text: str) -> None:
    with pytest.raises(UsageError, match="…@sha256:…"):
        parse_image_name(text)


def test_urls_of_files_are_no_images() -> None:
    assert is_file("https://h/model.bin")
    assert not is_file("https://h/v2/a/manifests/b")
    assert not is_file("h.example/a")
    assert is_manifest_url("https://h/v2/a/manifests/b")
