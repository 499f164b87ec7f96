"""Guards the media type of a manifest: stated or implied, and never a guess."""

import contextlib
import json

import pytest
from hypothesis import given, strategies as st

from damselfly.errors import RemoteProtocolError
from damselfly.wire.manifests import (
    OCI_INDEX,
    OCI_MANIFEST,
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
