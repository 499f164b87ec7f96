"""Guards what a manifest names: blobs and images, and for which platforms."""

import json

import pytest

from damselfly.errors import RemoteProtocolError
from damselfly.wire.manifest_children import children_of

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_manifest_names_its_config_and_layers() -> None:
    foreign = {"digest": B, "urls": ["https://elsewhere"], "mediaType": "x y", "size": -5}
    told = {"config": {"digest": A, "size": 7}, "layers": [{"digest": B, "size": 9}, foreign]}

    children = children_of(json.dumps(told).encode())

    assert children.config is not None
    assert (str(children.config.digest), children.config.size_bytes) == (A, 7)
    assert [each.is_elsewhere for each in children.layers] == [False, True]
    assert [each.size_bytes for each in children.layers] == [9, -1]
    assert children.images == ()
    assert children.blobs == (children.config, children.layers[0])


def test_index_names_images_for_platforms() -> None:
    told = {
        "manifests": [
            {"digest": A, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
            {"digest": B, "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": B, "platform": {"os": "", "architecture": ""}},
            {"digest": B},
        ]
    }

    children = children_of(json.dumps(told).encode())

    assert [str(each.platform) for each in children.images] == ["linux/arm64/v8", *["None"] * 3]
    assert (children.config, children.layers) == (None, ())


def test_artifact_names_blobs() -> None:
    children = children_of(json.dumps({"blobs": [{"digest": A}]}).encode())

    assert [str(each.digest) for each in children.layers] == [A]
    assert children.blobs == children.layers


@pytest.mark.parametrize(
    "told",
    [
        *({}, {"layers": []}, {"layers": 5}, {"layers": [{"digest": "x"}]}, {"config": {}}),
        "no object",
        {"layers": [{"digest": A}] * 10_001},
        [],
    ],
)
def test_manifest_that_is_none_names_nothing(told: object) -> None:
    with pytest.raises(RemoteProtocolError):
        children_of(json.dumps(told).encode())
