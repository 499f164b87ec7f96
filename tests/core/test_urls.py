"""URLs: one form to compare, nothing secret to show, and one error for all that is none."""

import pytest
from hypothesis import given, strategies as st

from damselfly.core.urls import (
    WEB,
    display_url,
    identity_url,
    is_host_port,
    normalise_url,
    shown_at,
    signature_names,
    split_form,
)
from damselfly.errors import TaskSpecError


@pytest.mark.parametrize(
    "url",
    [
        *("", "f", "http://", "http:///f", "http://h/a b", "http://h:99999/", "http://[/x"),
        *("http:/h", "://h", "ht_tp://h/", "file://host/f", "s3:///key"),
    ],
)
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(TaskSpecError):
        normalise_url(url)


def test_url_that_is_too_long_is_refused() -> None:
    with pytest.raises(TaskSpecError, match="longer"):
        normalise_url("http://h/" + "a" * 20_000)


def test_address_of_ipv6_keeps_its_brackets() -> None:
    assert normalise_url("http://[::1]:80/f") == "http://[::1]/f"


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_one_error(text: str) -> None:
    try:
        url = normalise_url(text)
    except TaskSpecError:
        return
    assert normalise_url(url) == url


def test_shown_url_has_no_secrets() -> None:
    assert display_url("https://u:p@h/f?token=t#x") == "https://h/f"
    assert display_url("no-url?token=t") == "no-url"


def test_other_schemes_than_wanted_are_refused() -> None:
    with pytest.raises(TaskSpecError, match=r"http:// or https://"):
        normalise_url("ftp://h/f", schemes=WEB)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTP://Host:80", "http://host/"),
        ("s3://Bucket/a//B?x#y", "s3://bucket/a//B?x"),
        ("hf://Qwen/Model@main/f", "hf://Qwen/Model@main/f"),
        ("oci://R.example:5000/lib/x:v1", "oci://r.example:5000/lib/x:v1"),
        ("file:///Data/x", "file:///Data/x"),
        ("list+file:///data/", "list+file:///data/"),
        ("list+https://h:443/d/", "list+https://h/d/"),
        ("sftp://U@h:22/f", "sftp://U@h:22/f"),
    ],
)
def test_a_url_has_one_form(url: str, normal: str) -> None:
    assert normalise_url(url) == normal
    assert normalise_url(normal) == normal


def test_a_form_is_part_of_a_scheme() -> None:
    assert split_form("list+s3") == ("list", "s3")
    assert split_form("s3") == ("", "s3")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/f", ("https://u:p@h/f", True)),
        ("list+https://h/", ("list+https://u:p@h/", True)),
        ("https://me:x@h/f", ("https://me:x@h/f", True)),
        ("http://h/f", ("http://h/f", False)),
        ("https://h:8443/f", ("https://h:8443/f", False)),
        ("https://h.evil.example/f", ("https://h.evil.example/f", False)),
        ("s3://h/f", ("s3://h/f", False)),
    ],
)
def test_secrets_stay_at_their_server(url: str, shown: tuple[str, bool]) -> None:
    assert shown_at(url, "https://u:p@h/folder/") == shown


def test_a_hub_is_one_server_whatever_stands_where_others_have_a_host() -> None:
    assert shown_at("hf://a/b/f", "list+hf://c/d") == ("hf://a/b/f", True)


def test_credentials_and_filtered_query_name_nothing() -> None:
    url = "http://u:p@h/f?sig=1&a=2&&exp=3"

    assert identity_url(url, ["sig", "exp"]) == "http://h/f?a=2"
    assert identity_url(url, ["sig", "exp", "a"]) == "http://h/f"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("X-Amz-Date=1&versionId=7&X-Amz-Signature=2", ["X-Amz-Date", "X-Amz-Signature"]),
        (
            "X-Goog-Signature=1&X-Goog-Expires=2&generation=3",
            ["X-Goog-Signature", "X-Goog-Expires"],
        ),
        ("sv=1&sig=2&se=3&snapshot=4", ["sv", "sig", "se"]),
        ("Expires=1&Signature=2&Key-Pair-Id=3", ["Expires", "Signature", "Key-Pair-Id"]),
        ("Expires=1&X-Amz-Date=2&sp=3&Signature=4", []),
        ("", []),
    ],
)
def test_signatures_of_the_large_stores_are_known(query: str, names: list[str]) -> None:
    assert list(signature_names(f"https://h/f?{query}")) == names


@pytest.mark.parametrize("text", ["sn.example:8002", "10.0.0.1:1", "[::1]:65535", "a_b-c:80"])
def test_host_and_port(text: str) -> None:
    assert is_host_port(text)


@pytest.mark.parametrize("text", [":8002", "0.0.0.0:0", "[::]:0"])
def test_anywhere_is_a_place_to_listen_and_not_one_to_reach(text: str) -> None:
    assert is_host_port(text, is_listening=True)
    assert not is_host_port(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8002",
        "host",
        "host:",
        "host:x",
        "host:65536",
        "host:\u0661",
        "http://h:1",
        "::1:80",
        "a b:1",
    ],
)
def test_what_is_no_host_and_port(text: str) -> None:
    assert not is_host_port(text, is_listening=True)
