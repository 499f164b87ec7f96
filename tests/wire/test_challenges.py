"""Challenges of registries."""

from damselfly.wire.challenges import parse_challenge


def test_the_first_challenge_that_is_understood_counts() -> None:
    lines = ["Negotiate", 'Bearer realm="https://t/token",service="s"', 'Basic realm="x"']

    assert parse_challenge(lines) == ("bearer", {"realm": "https://t/token", "service": "s"})
    assert parse_challenge(lines[:1]) == ("", {})
