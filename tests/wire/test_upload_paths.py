"""Guards the paths of pushes: what a registry has passes, and its answers lead back here."""

import pytest

from damselfly.errors import RegistryPathError
from damselfly.wire.upload_paths import is_upload_path, location_here, parse_push_path

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("path", "name", "rest", "is_upload"),
    [
        ("/v2/a/b/blobs/uploads/", "a/b", "blobs/uploads/", True),
        ("/v2/a/blobs/uploads/5f-3a_x=", "a", "blobs/uploads/5f-3a_x=", True),
        ("/v2/a/manifests/v1", "a", "manifests/v1", False),
        (f"/v2/a/blobs/{DIGEST}", "a", f"blobs/{DIGEST}", False),
        ("/v2/", "", "", False),
    ],
)
def test_path_of_a_push_is_understood(path: str, name: str, rest: str, *, is_upload: bool) -> None:
    told = parse_push_path(path)

    assert (told.repository.name, told.rest, told.is_upload) == (name, rest, is_upload)
    assert is_upload_path(path) == is_upload


@pytest.mark.parametrize(
    "path",
    [
        *("/v2/a/../b/blobs/uploads/", "/v2/a/blobs/uploads/..", "/v2/a/blobs/uploads/%2e%2e"),
        *("/v2/A/blobs/uploads/", "/v2//blobs/uploads/", "/v2/a/blobs/uploads/a/b", "/x"),
    ],
)
def test_path_that_nothing_can_be_pushed_to_is_refused(path: str) -> None:
    with pytest.raises(RegistryPathError):
        parse_push_path(path)


@pytest.mark.parametrize(
    ("location", "here"),
    [
        ("https://r.example/v2/p/a/blobs/uploads/1?x=2", "/v2/a/blobs/uploads/1?x=2&ns=r.example"),
        ("/v2/p/a/blobs/uploads/1", "/v2/a/blobs/uploads/1?ns=r.example"),
        ("https://store.example/v2/p/a/x", "https://store.example/v2/p/a/x"),
        ("/v2/other/blobs/uploads/1", "/v2/other/blobs/uploads/1"),
    ],
)
def test_client_goes_on_here(location: str, here: str) -> None:
    told = location_here(
        location, base="https://r.example", theirs="/v2/p/a/", ours="/v2/a/", registry="r.example"
    )

    assert told == here


def test_registry_in_the_path_is_not_named_again() -> None:
    told = location_here("/v2/a/x", base="https://r", theirs="/v2/a/", ours="/v2/r/a/", registry="")

    assert told == "/v2/r/a/x"
