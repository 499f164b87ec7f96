"""Guards what an address may lead to."""

import pytest

from damselfly.core.proxying.networks import Networks, is_loopback


@pytest.mark.parametrize(
    ("text", "is_it"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("example", False),
    ],
)
def test_loopback(*, text: str, is_it: bool) -> None:
    assert is_loopback(text) is is_it


def test_network_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0\.0/99' is no network such as"):
        Networks.parse(["10.0.0.0/8", "10.0.0.0/99"])
