"""Challenges of registries."""

from damselfly.wire.challenges import parse_challenge, token_url


def test_the_first_challenge_that_is_understood_counts() -> None:
    lines = ["Negotiate", 'Bearer realm="https://t/token",service="s"', 'Basic realm="x"']

    assert parse_challenge(lines) == ("bearer", {"realm": "https://t/token", "service": "s"})
    assert parse_challenge(lines[:1]) == ("", {})


def test_service_and_scopes_are_asked_for() -> None:
    words = {"realm": "https://auth.example/token", "service": "registry.example"}

    url = token_url(words, ["repository:a:pull", "repository:b:pull"], [("account", "ann")])

    assert url == (
        "https://auth.example/token?service=registry.example"
        "&scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull&account=ann"
    )


def test_a_realm_with_a_query_keeps_it() -> None:
    assert token_url({"realm": "https://a/t?x=1"}, ["s"]) == "https://a/t?x=1&scope=s"
