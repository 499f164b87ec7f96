"""Which rule acts on a request, and why.

Rules are asked in order. The first that matches and ends the matter decides:

- `p2p`: through the swarm, if the request can be answered from content that everybody
  shares (`why_not_shared`); if not, it goes direct, and no later rule is asked.
- `direct`: straight to the source.
- `redirect`: the URL gets another host, and the rules *after* this one are asked about the
  new URL; so a redirected request can be `p2p`, and rules cannot send one in circles.

A request that no rule decides goes direct. A verdict carries each rule that was asked with
its answer, so that `damselfly proxy explain` and the proxy cannot disagree.

To add an action: a member of `Action`, a case in `Rules.judge`, and one where the proxy
carries verdicts out; the type checker finds both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self, assert_never
from urllib.parse import SplitResult, urlsplit, urlunsplit

from damselfly.core.proxying.networks import is_for_host_alone
from damselfly.core.proxying.patterns import HostPattern, PathPattern
from damselfly.core.urls import WEB, normalise_url

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
RULES_MAX: Final = 1000  # each is asked about each request
BLOBS: Final = "/v2/**/blobs/sha256:*"


class Action(StrEnum):
    """What a rule does with a request."""

    P2P = "p2p"
    DIRECT = "direct"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRule:
    """One rule of the proxy.

    Attributes:
        action: `p2p`, `direct` or `redirect`.
        host: Pattern of the host, with a port if it matters: `*.example.com`,
            `registry.example:5000`. `*` is any host, but opens no CONNECT.
        path: Pattern of the path: `*` within a segment, `**` for any number of segments.
        scheme: `http` or `https`; empty is both.
        redirect_to: Where `redirect` leads: `host`, `host:port`, or these after `http://`
            or `https://`.
        use_https: The source is asked by https even if the client asked by http.
        filtered_query: Names of query parameters that do not name the content, such as
            signatures; for `p2p`.
    """

    action: Action = Action.DIRECT
    host: str = "*"
    path: str = "/**"
    scheme: str = ""
    redirect_to: str = ""
    use_https: bool = False
    filtered_query: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        HostPattern(self.host)
        PathPattern(self.path)
        if self.scheme not in ("", *DEFAULT_PORTS):
            raise ValueError(f"scheme must be http, https or empty, not {self.scheme!r}")
        if bool(self.redirect_to) != (self.action is Action.REDIRECT):
            raise ValueError("redirect_to belongs to the action redirect, and to no other")
        if self.redirect_to:
            _authority_of(self.redirect_to)

    def __str__(self) -> str:
        where = f"{self.scheme}://{self.host}" if self.scheme else self.host
        to = f" to {self.redirect_to}" if self.redirect_to else ""
        return f"{self.action}{to} {where}{self.path}" + (" with https" if self.use_https else "")


USUAL_RULES: Final = (ProxyRule(action=Action.P2P, path=BLOBS),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The URL of a request, in the parts that rules look at.

    Attributes:
        scheme: `http` or `https`.
        host: Lower case, without brackets.
        port: Never 0.
        path: As asked for, percent-encoded.
        query: The same, without `?`.
    """

    scheme: str
    host: str
    port: int
    path: str = "/"
    query: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the parts of a URL.

        Raises:
            TaskSpecError: It is no http or https URL.
        """
        parts = urlsplit(normalise_url(url, schemes=WEB))
        return cls(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port or DEFAULT_PORTS[parts.scheme],
            path=parts.path,
            query=parts.query,
        )

    @property
    def is_for_host_alone(self) -> bool:
        """Whether each host means another one by it, the SuperNode too."""
        is_local_name = self.host == "localhost" or self.host.endswith(".localhost")
        return is_local_name or is_for_host_alone(self.host)

    @property
    def authority(self) -> str:
        """`host:port`, or the host alone when the scheme says the port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole."""
        return urlunsplit((self.scheme, self.authority, self.path, self.query, ""))

    def with_https(self) -> Self:
        """Return the same by https; a port that was only http's usual one changes, too."""
        if self.scheme == "https":
            return self
        port = 443 if self.port == DEFAULT_PORTS["http"] else self.port
        return replace(self, scheme="https", port=port)

    def at(self, authority: str) -> Self:
        """Return the same path and query at another host, by its scheme if it has one."""
        parts = _authority_of(authority)
        scheme = parts.scheme or self.scheme
        port = parts.port or DEFAULT_PORTS[scheme]
        return replace(self, scheme=scheme, host=parts.hostname or "", port=port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A rule that was asked.

    Attributes:
        number: Its place, from 1.
        rule: The rule.
        has_matched: Whether it was for this request.
        reason: Why, or why not.
    """

    number: int
    rule: ProxyRule
    has_matched: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is done with a request.

    Attributes:
        action: `p2p` or `direct`.
        target: What is asked of the source, after redirects and `use_https`.
        reason: Why, in words.
        filtered_query: Of the rule that acts.
        steps: The rules that were asked, in order.
    """

    action: Action
    target: Target
    reason: str
    filtered_query: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


class Way(StrEnum):
    """How a CONNECT leads to its host."""

    OPENED = "opened"
    TUNNELLED = "tunnelled"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What is done with a CONNECT.

    Attributes:
        way: Opened with our certificate so that rules can see what is inside, tunnelled
            untouched, or refused.
        reason: Why, in words.
    """

    way: Way
    reason: str


class Rules:
    """Rules in order.

    Args:
        rules: The rules.
        connect_ports: Ports to which CONNECT may lead, besides those that a rule names.
    """

    def __init__(self, rules: Iterable[ProxyRule], *, connect_ports: Iterable[int] = ()) -> None:
        self._rules = [(rule, HostPattern(rule.host), PathPattern(rule.path)) for rule in rules]
        self._connect_ports = frozenset(connect_ports)

    def judge(self, target: Target, *, not_shared: str = "") -> Verdict:
        """Return what is done with a request.

        Args:
            target: What is asked for.
            not_shared: Why this request cannot be `p2p`; see `why_not_shared`.
        """
        steps: list[Step] = []
        for number, (rule, host, path) in enumerate(self._rules, start=1):
            mismatch = _mismatch(target, rule, host, path)
            reason = mismatch or f"{target.host}{target.path} is {rule.host}{rule.path}"
            steps.append(Step(number=number, rule=rule, has_matched=not mismatch, reason=reason))
            if mismatch:
                continue
            action = rule.action
            if action is Action.REDIRECT:
                target = target.at(rule.redirect_to)
            if rule.use_https:
                target = target.with_https()
            said = f"rule {number} says {action}"
            if action is Action.P2P and (reason := not_shared or _why_not_swarm(target, host)):
                action, said = Action.DIRECT, f"{said}, but {reason}"
            match action:
                case Action.REDIRECT:
                    continue
                case Action.P2P | Action.DIRECT:
                    return Verdict(
                        action=action,
                        target=target,
                        reason=said,
                        filtered_query=rule.filtered_query,
                        steps=tuple(steps),
                    )
                case _:
                    assert_never(action)
        redirects = [step.number for step in steps if step.has_matched]
        reason = f"rule {redirects[-1]} redirects, no later one acts" if redirects else "no rule"
        return Verdict(action=Action.DIRECT, target=target, reason=reason, steps=tuple(steps))

    def opening(self, host: str, port: int) -> Opening:
        """Return what is done with a CONNECT: it is opened when a rule names its host.

        Not by one that cannot act inside, and not when an earlier one leaves all of it alone.
        """
        if not self._leads_to(host, port):
            reason = f"CONNECT to port {port} is not allowed; connect_ports or a rule must name it"
            return Opening(way=Way.REFUSED, reason=reason)
        for number, (rule, hosts, path) in enumerate(self._rules, start=1):
            if rule.scheme == "http" or not hosts.matches(host, port):
                continue
            if rule.action is Action.DIRECT:
                if path.is_everything:
                    reason = f"rule {number} says direct for all of {rule.host}"
                    return Opening(way=Way.TUNNELLED, reason=reason)
            elif hosts.names_a_host:
                return Opening(way=Way.OPENED, reason=f"rule {number} names {rule.host}")
        reason = f"no rule names {host}; one for * opens nothing"
        return Opening(way=Way.TUNNELLED, reason=reason)

    def _leads_to(self, host: str, port: int) -> bool:
        return port in self._connect_ports or any(
            hosts.port == port and hosts.matches(host, port) for _, hosts, _ in self._rules
        )


def _why_not_swarm(target: Target, host: HostPattern) -> str:
    if target.is_for_host_alone and not host.names_a_host:
        return f"each host means another by {target.host}, and only a rule that names it shares it"
    return ""


def _mismatch(target: Target, rule: ProxyRule, host: HostPattern, path: PathPattern) -> str:
    if rule.scheme not in ("", target.scheme):
        return f"it is for {rule.scheme}, this is {target.scheme}"
    if not host.matches(target.host, target.port):
        return f"its host {rule.host} is not {target.host}:{target.port}"
    if not path.matches(target.path):
        return f"its path {rule.path} does not match {target.path}"
    return ""


def _authority_of(text: str) -> SplitResult:
    expected = f"redirect_to must be host, host:port or http(s)://host:port, not {text[:80]!r}"
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = parts.port
    except ValueError as exc:
        raise ValueError(expected) from exc
    is_bare = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    if not is_bare or not parts.hostname or parts.scheme not in ("", *DEFAULT_PORTS) or port == 0:
        raise ValueError(expected)
    return parts


# A request with one of these asks for more than the content: an answer that only the source
# can give, or something that is no answer at all.
_SOURCE_ONLY: Final = {
    "if-match": "it has a condition that the source must judge",
    "if-modified-since": "it has a condition that the source must judge",
    "if-none-match": "it has a condition that the source must judge",
    "if-unmodified-since": "it has a condition that the source must judge",
    "if-range": "it has a condition that the source must judge",
    "upgrade": "it asks for another protocol",
    "expect": "it has an expectation",
}


def why_not_shared(method: str, headers: Mapping[str, str]) -> str:
    """Return why a request cannot be answered from shared content; empty when it can.

    Args:
        method: Its method.
        headers: Its headers; names in any case.
    """
    if method == "HEAD":
        return "HEAD asks for headers, which only the source has"
    if method != "GET":
        return f"{method} is never shared"
    told = {name.lower(): value for name, value in headers.items()}
    if told.get("content-length", "0").strip() != "0" or "transfer-encoding" in told:
        return "it has a body"
    for name, reason in _SOURCE_ONLY.items():
        if name in told:
            return reason
    if "," in told.get("range", ""):
        return "it asks for several ranges"
    if "no-store" in told.get("cache-control", "").lower():
        return "the client forbids to store it"
    return ""
