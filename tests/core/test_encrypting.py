"""Guards which contents a rule encrypts."""

import pytest

from damselfly.core.proxying.encrypting import EncryptRule


@pytest.mark.parametrize(
    ("url", "is_match"),
    [
        ("https://models.example.com/private/a/b.bin", True),
        ("http://MODELS.example.com/private/b.bin?sig=1", True),
        ("https://models.example.com/public/b.bin", False),
        ("https://example.com/private/b.bin", False),
        ("https://models.example.com/public/../private/b.bin", True),
    ],
)
def test_a_rule_matches_host_and_path(url: str, *, is_match: bool) -> None:
    rule = EncryptRule(host="*.example.com", path="/private/**")

    assert rule.matches(url) is is_match


def test_a_rule_may_name_a_port_and_without_patterns_means_everything() -> None:
    assert EncryptRule(host="h:5000").matches("http://h:5000/x")
    assert not EncryptRule(host="h:5000").matches("http://h/x")
    assert EncryptRule().matches("http://[::1]:1/x")
    assert str(EncryptRule(host="h")) == "h/**"


@pytest.mark.parametrize(
    ("url", "is_match"),
    [
        ("s3://bucket/private/k", True),
        ("s3://other/private/k", False),
        ("file:///private/x", False),
        ("hf://bucket", False),
    ],
)
def test_a_rule_matches_sources_of_all_kinds(url: str, *, is_match: bool) -> None:
    assert EncryptRule(host="bucket", path="/private/**").matches(url) is is_match
    assert EncryptRule().matches(url)


@pytest.mark.parametrize("wrong", [{"host": "a b"}, {"path": "private"}])
def test_a_pattern_that_is_none_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must"):
        EncryptRule(**wrong)
