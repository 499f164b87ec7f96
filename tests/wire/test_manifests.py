"""Guards the media type of a manifest: stated or implied, and never a guess."""

import contextlib
import json

import pytest
from hypothesis import given, strategies as st

from damselfly.errors import RemoteProtocolError
from damselfly.wire.manifests import (
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    contents_named,
    media_type_of,
)


@pytest.mark.parametrize(
    ("told", "media_type"),
    [
        ({"mediaType": "application/vnd.oci.artifact.v1+json"}, None),
        ({"mediaType": "application/x", "layers": [{"digest": "x"}]}, "application/x"),
        ({"layers": [{"digest": "x"}], "config": {}}, OCI_MANIFEST),
        ({"layers": []}, OCI_MANIFEST),
        ({"manifests": [{"digest": "x"}]}, OCI_INDEX),
    ],
)
def test_type_is_the_stated_one_or_follows_from_the_fields(
    told: dict[str, object], media_type: str | None
) -> None:
    assert media_type_of(json.dumps(told).encode()) == (media_type or told["mediaType"])


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"mediaType": "a b/c"}',
        b'{"mediaType": "\\u0000/x"}',
        b'{"mediaType": "text"}',
        b'{"layers": 5}',
        b"\xff",
        b"[" * 100000,
    ],
)
def test_manifest_of_unknown_kind_has_no_type(manifest: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        media_type_of(manifest)


@given(st.binary())
def test_any_bytes_have_a_type_or_none(manifest: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert "/" in media_type_of(manifest)


def test_contents_that_a_manifest_names() -> None:
    digest = "sha256:" + "1" * 64
    named = f'{{"mediaType":"t","digest":"{digest}","size":5}}'
    blob = Descriptor(mediaType="t", digest=digest, size=5)

    assert contents_named(f'{{"config":{named},"layers":[{named}]}}'.encode()) == (
        [],
        [blob, blob],
    )
    assert contents_named(f'{{"manifests":[{named}]}}'.encode()) == ([blob], [])


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b'{"layers":[{"digest":"x","mediaType":"t","size":1}]}']
)
def test_a_manifest_that_names_what_cannot_be_found_is_refused(manifest: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="names nothing"):
        contents_named(manifest)
