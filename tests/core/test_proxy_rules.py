"""Rules in order: which one acts, and what it says of itself and of those before it."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from damselfly.core.proxying.networks import Networks, is_for_host_alone
from damselfly.core.proxying.rules import (
    USUAL_RULES,
    Action,
    ProxyRule,
    Rules,
    Target,
    Way,
    why_not_shared,
)
from damselfly.errors import TaskSpecError

P2P, DIRECT, REDIRECT = Action.P2P, Action.DIRECT, Action.REDIRECT
BLOB = "http://registry.example:5000/v2/a/b/blobs/sha256:" + "0" * 64


def judged(*rules: ProxyRule, url: str, not_shared: str = "") -> tuple[Action, str]:
    verdict = Rules(rules).judge(Target.parse(url), not_shared=not_shared)
    return verdict.action, verdict.target.url


def test_without_rules_all_goes_direct() -> None:
    verdict = Rules(()).judge(Target.parse("http://a.example/x?y=1"))

    assert (verdict.action, verdict.reason, verdict.steps) == (DIRECT, "no rule", ())
    assert verdict.target.url == "http://a.example/x?y=1"


def test_usually_blobs_of_registries_are_p2p_and_all_else_direct() -> None:
    assert judged(*USUAL_RULES, url=BLOB) == (P2P, BLOB)
    assert judged(*USUAL_RULES, url="http://a.example/x")[0] is DIRECT


def test_the_first_rule_that_matches_acts_and_those_before_say_why_not() -> None:
    rules = Rules(
        [
            ProxyRule(action=DIRECT, host="other.example"),
            ProxyRule(action=DIRECT, scheme="https"),
            ProxyRule(action=DIRECT, path="/private/**"),
            ProxyRule(action=P2P, host="*.example", path="/models/*"),
            ProxyRule(action=DIRECT),
        ]
    )

    verdict = rules.judge(Target.parse("http://hub.example/models/x"))

    assert (verdict.action, verdict.reason) == (P2P, "rule 4 says p2p")
    assert [(step.number, step.has_matched) for step in verdict.steps] == [
        (1, False),
        (2, False),
        (3, False),
        (4, True),
    ]
    assert [step.reason for step in verdict.steps] == [
        "its host other.example is not hub.example:80",
        "it is for https, this is http",
        "its path /private/** does not match /models/x",
        "hub.example/models/x is *.example/models/*",
    ]


def test_a_request_that_cannot_be_shared_goes_direct_and_asks_no_later_rule() -> None:
    rules = Rules([ProxyRule(action=P2P, use_https=True), ProxyRule(action=P2P)])

    verdict = rules.judge(Target.parse("http://a.example/"), not_shared="POST is never shared")

    assert (verdict.action, len(verdict.steps)) == (DIRECT, 1)
    assert verdict.target.url == "https://a.example/"
    assert verdict.reason == "rule 1 says p2p, but POST is never shared"


def test_a_redirected_request_is_judged_by_the_rules_after() -> None:
    to_mirror = ProxyRule(action=REDIRECT, host="hub.example", redirect_to="mirror.lan:5000")
    p2p = ProxyRule(action=P2P, host="mirror.lan")

    assert judged(to_mirror, p2p, url="http://hub.example/x?y") == (
        P2P,
        "http://mirror.lan:5000/x?y",
    )
    assert judged(p2p, to_mirror, url="http://hub.example/x") == (
        DIRECT,
        "http://mirror.lan:5000/x",
    )


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "[::1]"])
def test_what_each_host_means_otherwise_is_shared_only_by_a_rule_that_names_it(host: str) -> None:
    url = f"http://{host}:5000/v2/a/blobs/sha256:0"

    assert judged(*USUAL_RULES, url=url)[0] is DIRECT
    assert judged(ProxyRule(action=P2P, host=host), url=url)[0] is P2P


def test_rules_that_redirect_to_each_other_make_no_circle() -> None:
    there = ProxyRule(action=REDIRECT, host="a.example", redirect_to="b.example")
    back = ProxyRule(action=REDIRECT, host="b.example", redirect_to="a.example")

    assert judged(there, back, url="http://a.example/") == (DIRECT, "http://a.example/")


@pytest.mark.parametrize(
    ("rule", "url", "asked"),
    [
        (ProxyRule(use_https=True), "http://a.example/x", "https://a.example/x"),
        (ProxyRule(use_https=True), "http://a.example:5000/x", "https://a.example:5000/x"),
        (ProxyRule(use_https=True), "https://a.example:80/x", "https://a.example:80/x"),
        (
            ProxyRule(action=REDIRECT, redirect_to="http://b.example:81"),
            "https://a.example/x",
            "http://b.example:81/x",
        ),
        (
            ProxyRule(action=REDIRECT, redirect_to="[::1]:81", use_https=True),
            "http://a.example/x",
            "https://[::1]:81/x",
        ),
    ],
)
def test_what_is_asked_of_the_source(rule: ProxyRule, url: str, asked: str) -> None:
    assert judged(rule, url=url) == (DIRECT, asked)


def test_a_connect_is_opened_when_a_rule_names_the_host() -> None:
    rules = Rules(
        [
            ProxyRule(action=DIRECT, host="login.example"),
            ProxyRule(action=DIRECT, host="hub.example", path="/private/**"),
            ProxyRule(action=P2P, host="*.example", path="/models/**"),
            ProxyRule(action=P2P, host="plain.org", scheme="http"),
            ProxyRule(action=P2P, path="/v2/**"),
        ],
        connect_ports=[443],
    )

    assert rules.opening("hub.example", 443).way is Way.OPENED
    for host, reason in {
        "login.example": "rule 1 says direct",
        "plain.org": "no rule names plain.org",
        "bank.org": "one for * opens nothing",
    }.items():
        opening = rules.opening(host, 443)
        assert opening.way is Way.TUNNELLED
        assert reason in opening.reason


def test_a_connect_leads_to_the_ports_of_the_settings_and_of_rules_for_its_host() -> None:
    rules = Rules([ProxyRule(host="registry.example:5000")], connect_ports=[443])

    assert rules.opening("registry.example", 5000).way is Way.TUNNELLED
    assert rules.opening("other.example", 443).way is Way.TUNNELLED
    assert rules.opening("registry.example", 25).way is Way.REFUSED
    assert rules.opening("other.example", 5000).way is Way.REFUSED


@pytest.mark.parametrize(
    ("method", "headers", "reason"),
    [
        ("GET", {}, ""),
        ("GET", {"Range": "bytes=0-1", "Content-Length": "0", "Authorization": "x"}, ""),
        ("HEAD", {}, "HEAD asks for headers, which only the source has"),
        ("POST", {}, "POST is never shared"),
        ("GET", {"CONTENT-LENGTH": "5"}, "it has a body"),
        ("GET", {"Transfer-Encoding": "chunked"}, "it has a body"),
        ("GET", {"Range": "bytes=0-1,5-6"}, "it asks for several ranges"),
        ("GET", {"If-None-Match": '"x"'}, "it has a condition that the source must judge"),
        ("GET", {"Upgrade": "websocket"}, "it asks for another protocol"),
        ("GET", {"Cache-Control": "max-age=0, No-Store"}, "the client forbids to store it"),
    ],
)
def test_what_is_shared(method: str, headers: dict[str, str], reason: str) -> None:
    assert why_not_shared(method, headers) == reason


RULES = st.builds(
    ProxyRule,
    action=st.sampled_from([P2P, DIRECT]),
    host=st.sampled_from(["*", "a.example", "*.example", "[::1]:80"]),
    path=st.sampled_from(["/**", "/a/*", "/**/b"]),
    scheme=st.sampled_from(["", "http", "https"]),
    use_https=st.booleans(),
)


@given(st.lists(RULES, max_size=6), st.text(max_size=60), st.sampled_from(["", "it has a body"]))
def test_any_url_has_one_verdict_and_its_last_step_is_the_one_that_acts(
    rules: list[ProxyRule], tail: str, not_shared: str
) -> None:
    try:
        target = Target.parse(f"http://a.example/{tail}")
    except TaskSpecError:
        return

    verdict = Rules(rules).judge(target, not_shared=not_shared)

    assert [step.number for step in verdict.steps] == list(range(1, len(verdict.steps) + 1))
    assert all(not step.has_matched for step in verdict.steps[:-1])
    if verdict.steps and verdict.steps[-1].has_matched:
        assert verdict.reason.startswith(f"rule {len(verdict.steps)} says")
    else:
        assert (len(verdict.steps), verdict.action) == (len(rules), DIRECT)
    assert not (not_shared and verdict.action is P2P)
    assert Target.parse(verdict.target.url) == verdict.target


def test_networks() -> None:
    networks = Networks.parse(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])

    assert "10.1.2.3" in networks
    assert "::ffff:10.1.2.3" in networks
    assert "fd00::1%eth0" in networks
    assert "192.0.2.7" in networks
    assert "192.0.2.8" not in networks
    assert "no address" not in networks


@pytest.mark.parametrize(
    ("address", "is_alone"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("::", True),
        ("169.254.169.254", True),
        ("fe80::1%eth0", True),
        ("10.0.0.1", False),
        ("2001:db8::1", False),
        ("localhost", False),
    ],
)
def test_addresses_that_mean_another_thing_on_each_host(*, address: str, is_alone: bool) -> None:
    assert is_for_host_alone(address) is is_alone


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"action": P2P, "scheme": "ftp"}, "scheme"),
        ({"action": P2P, "redirect_to": "a.example"}, "redirect_to"),
        ({"action": REDIRECT}, "redirect_to"),
        ({"action": REDIRECT, "redirect_to": "a.example:port"}, "redirect_to"),
        ({"action": REDIRECT, "redirect_to": "https://a.example/path"}, "redirect_to"),
    ],
)
def test_rule_that_cannot_be_says_what_is_wrong(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ProxyRule(host="*", path="/**", **options)


def test_rule_is_shown_in_one_line() -> None:
    rule = ProxyRule(
        host="a.example", path="/x", action=REDIRECT, scheme="http", redirect_to="b", use_https=True
    )

    assert str(rule) == "redirect to b http://a.example/x with https"
