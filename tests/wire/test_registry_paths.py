"""Guards the grammar of a registry's paths: what it has is understood, no trick gets through."""

import contextlib

import pytest
from hypothesis import given, strategies as st

from damselfly.core.digest import Digest
from damselfly.errors import RegistryPathError
from damselfly.wire.registry_paths import (
    Kind,
    RegistryPath,
    parse_image_path,
    parse_registry_name,
    parse_registry_path,
)

DIGEST = f"sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("/v2/", RegistryPath(kind=Kind.BASE)),
        ("/v2", RegistryPath(kind=Kind.BASE)),
        ("/v2/app/manifests/v1", RegistryPath(kind=Kind.MANIFEST, name="app", tag="v1")),
        (
            "/v2/a/b-c/d__e/manifests/V_1.0-x",
            RegistryPath(kind=Kind.MANIFEST, name="a/b-c/d__e", tag="V_1.0-x"),
        ),
        (
            f"/v2/a/manifests/{DIGEST}",
            RegistryPath(kind=Kind.MANIFEST, name="a", digest=Digest.parse(DIGEST)),
        ),
        (
            f"/v2/blobs/blobs/{DIGEST.replace(':', '%3A')}",
            RegistryPath(kind=Kind.BLOB, name="blobs", digest=Digest.parse(DIGEST)),
        ),
        (
            f"/v2/a/referrers/{DIGEST}",
            RegistryPath(kind=Kind.REFERRERS, name="a", digest=Digest.parse(DIGEST)),
        ),
        ("/v2/a/b/tags/list", RegistryPath(kind=Kind.TAGS, name="a/b")),
    ],
)
def test_path_of_the_specification_is_understood(path: str, meaning: RegistryPath) -> None:
    assert parse_registry_path(path) == meaning
    assert parse_registry_path(str(meaning)) == meaning


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/v1/_ping", "/v2/x", "/v2//manifests/v1", "//v2/a/manifests/v1", "v2/"),
        *("/v2/../v2/a/manifests/v1", "/v2/a/../b/manifests/v1", "/v2/a/./manifests/v1"),
        *("/v2/a/%2e%2e/manifests/v1", "/v2/a%2fb/manifests/v1", "/v2/a//b/manifests/v1"),
        *("/v2/a/manifests/", "/v2/a/manifests/..", "/v2/a/manifests/%2e%2e", "/v2/a/manifests/a%"),
        *(
            "/v2/A/manifests/v1",
            "/v2/a-/manifests/v1",
            "/v2/a b/manifests/v1",
            "/v2/a:5/manifests/v",
        ),
        *(f"/v2/{'a' * 256}/manifests/v1", f"/v2/{'a/' * 5000}a/manifests/v1"),
        *(f"/v2/a/manifests/{'v' * 129}", "/v2/a/manifests/-v", "/v2/a/tags/other"),
        *("/v2/a/blobs/v1", "/v2/a/blobs/sha256:abc", "/v2/a/blobs/uploads/", "/v2/a/blobs/md5:00"),
        *(f"/v2/a/blobs/{DIGEST.upper()}", f"/v2/a/blobs/{DIGEST}/", f"/v2/a/blobs/{DIGEST}%00"),
        *(f"/v2/a/base/{DIGEST}", f"/v2/a/blobs/{DIGEST}\n", "/v2/_catalog"),
    ],
)
def test_what_no_registry_has_is_refused(path: str) -> None:
    with pytest.raises(RegistryPathError) as caught:
        parse_registry_path(path)

    assert caught.value.http_status in (400, 404)


@given(st.text())
def test_any_text_is_a_path_or_none(text: str) -> None:
    with contextlib.suppress(RegistryPathError):
        assert ".." not in str(parse_registry_path(f"/v2/{text}").name)


@pytest.mark.parametrize(
    ("name", "registry", "rest"),
    [
        ("quay.io/lib/app", "quay.io", "lib/app"),
        ("registry.test_5000/lib/app", "registry.test:5000", "lib/app"),
        ("127.0.0.1_5000/app", "127.0.0.1:5000", "app"),
        ("localhost/app", "localhost", "app"),
        ("lib/app", "", "lib/app"),
        ("quay.io", "", "quay.io"),
        ("my_5000/app", "", "my_5000/app"),
    ],
)
def test_first_part_may_be_a_registry(name: str, registry: str, rest: str) -> None:
    path = RegistryPath(kind=Kind.TAGS, name=name)

    assert path.split_registry() == (registry, rest)


@pytest.mark.parametrize("name", ["Ghcr.IO", "a:5000", "[::1]:5000", "127.0.0.1", "a-b.c"])
def test_registry_name_is_a_host_and_a_port(name: str) -> None:
    assert parse_registry_name(name) == name.lower()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a/b",
        "a@b",
        "a:",
        "a:0",
        "a:70000",
        "a:b",
        "..",
        "a..b",
        "-a",
        "a?",
        "a#",
        "é.de",
        "x" * 300,
    ],
)
def test_what_is_no_registry_name_is_refused(name: str) -> None:
    with pytest.raises(RegistryPathError):
        parse_registry_name(name)


@pytest.mark.parametrize(
    ("path", "means"),
    [
        ("/lib/x:v1", "/v2/lib/x/manifests/v1"),
        ("/lib/x", "/v2/lib/x/manifests/latest"),
        (f"/lib/x:v1@{DIGEST}", f"/v2/lib/x/manifests/{DIGEST}"),
        (f"/lib/x/blobs/{DIGEST}", f"/v2/lib/x/blobs/{DIGEST}"),
    ],
)
def test_the_path_of_an_image_is_one_of_its_registry(path: str, means: str) -> None:
    assert str(parse_image_path(path)) == means


@pytest.mark.parametrize("path", ["/", "/X", "/x@sha256:1", "/../x", "/x:a:b"])
def test_a_path_that_is_no_image_is_refused(path: str) -> None:
    with pytest.raises(RegistryPathError):
        parse_image_path(path)
