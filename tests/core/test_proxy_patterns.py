"""Patterns of hosts and paths: what they match, and that nothing makes them slow."""

import contextlib
import re

import pytest
from hypothesis import given, strategies as st

from damselfly.core.proxying.patterns import HostPattern, PathPattern, path_segments


@pytest.mark.parametrize(
    ("pattern", "path", "is_match"),
    [
        ("/**", "/", True),
        ("/**", "/a/b/c", True),
        ("/models/**", "/models", True),
        ("/models/**", "/models/", True),
        ("/models/**", "/models/a/b.bin", True),
        ("/models/**", "/modelsx", False),
        ("/models/*", "/models/a", True),
        ("/models/*", "/models/a/b", False),
        ("/models/*", "/models", False),
        ("/*.bin", "/a.bin", True),
        ("/*.bin", "/a/b.bin", False),
        ("/**/*.bin", "/b.bin", True),
        ("/**/*.bin", "/a/b/c.bin", True),
        ("/**/a/**/b", "/x/a/y/a/b", True),
        ("/**/a/**/b", "/x/y/b", False),
        ("/v2/**/blobs/sha256:*", "/v2/library/alpine/blobs/sha256:abc", True),
        ("/v2/**/blobs/sha256:*", "/v2/library/alpine/blobs/sha256%3Aabc", True),
        ("/v2/**/blobs/sha256:*", "/v2/library/alpine/manifests/latest", False),
        ("/v2/**/blobs/sha256:*", "/v2/library/alpine/blobs/uploads/", False),
        ("/v2/**/blobs/sha256:*", "/v2/library/blobs/sha256:abc/more", False),
        ("/?", "/a", True),
        ("/?", "/ab", False),
        ("/a/", "/a", False),
        ("/a/", "/a/", True),
    ],
)
def test_path_patterns(*, pattern: str, path: str, is_match: bool) -> None:
    assert PathPattern(pattern).matches(path) is is_match


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/%70ublic/x", "/public/x"),
        ("/public/../private", "/private"),
        ("/public/%2e%2E/private", "/private"),
        ("/./private/.", "/private/"),
        ("/../../private", "/private"),
        ("/a/..", "/"),
    ],
)
def test_a_path_has_one_way_to_be_written(path: str, meant: str) -> None:
    assert path_segments(path) == path_segments(meant)


def test_an_encoded_slash_separates_nothing() -> None:
    assert not PathPattern("/a/b").matches("/a%2fb")
    assert PathPattern("/*").matches("/a%2Fb")


@pytest.mark.parametrize(
    ("pattern", "host", "port", "is_match"),
    [
        ("*", "anything.example", 1, True),
        ("*.example.com", "a.example.com", 443, True),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "a.example.com.evil.org", 443, False),
        ("Example.COM", "example.com", 80, True),
        ("example.com", "example.com.", 80, True),
        ("example.com", "examplexcom", 80, False),
        ("registry.example:5000", "registry.example", 5000, True),
        ("registry.example:5000", "registry.example", 443, False),
        ("registry.example:*", "registry.example", 5000, True),
        ("[::1]:5000", "::1", 5000, True),
        ("[::1]", "::1", 443, True),
        ("10.0.*", "10.0.3.4", 80, True),
    ],
)
def test_host_patterns(*, pattern: str, host: str, port: int, is_match: bool) -> None:
    assert HostPattern(pattern).matches(host, port) is is_match


@pytest.mark.parametrize("pattern", ["", "a b", "a/b", "u@h", "::1", "a:99999", "a:x", "[a", "a:"])
def test_what_is_no_host_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="host must be such as"):
        HostPattern(pattern)


@pytest.mark.parametrize("pattern", ["", "models", "*", "/" + "a" * 2000])
def test_what_is_no_path_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="path must begin with /"):
        PathPattern(pattern)


def as_expression(pattern: str) -> re.Pattern[str]:
    """Return the same pattern by the other way: one expression that backtracks."""
    expression = ""
    for segment in pattern.removeprefix("/").split("/"):
        if segment == "**":
            expression += "(?:/[^/]*)*"
        else:
            expression += "/" + re.escape(segment).replace(r"\*", "[^/]*")
    return re.compile(expression)


SEGMENTS = st.lists(st.sampled_from(["**", "*", "a", "b", "a*", "*b", ""]), min_size=1, max_size=5)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "aab", "", "c"]), min_size=1, max_size=6)


@given(SEGMENTS, PATHS)
def test_patterns_match_what_a_backtracking_expression_matches(
    pattern_segments: list[str], path_parts: list[str]
) -> None:
    pattern, path = "/" + "/".join(pattern_segments), "/" + "/".join(path_parts)

    assert PathPattern(pattern).matches(path) == bool(as_expression(pattern).fullmatch(path))


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_a_pattern_or_refused(host: str, path: str) -> None:
    for make, text in ((HostPattern, host), (PathPattern, path)):
        with contextlib.suppress(ValueError):
            make(text)


@pytest.mark.timeout(10)
def test_a_path_made_to_be_slow_is_not() -> None:
    pattern = PathPattern("/**/a*a*a*b/**/a*a*a*b/**/c")

    assert not pattern.matches("/aaaaaaaa" * 1800)
    assert not pattern.matches("/" + "a" * 16000)
