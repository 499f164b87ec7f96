"""From this host to the SuperNode: daemon, its ports, session, the SuperNode itself, clocks."""

import contextlib
import socket
from typing import Final

import msgspec

from damselfly.services.doctor.asking import UnansweredError, ask, reachable
from damselfly.services.doctor.findings import Finding, Scene, failed, ok, skipped, warning

SKEW_WARNING_S: Final = 5.0  # freshness windows and log lines are of this order
SKEW_FAILED_S: Final = 60.0  # tokens and signed URLs live for minutes


def check_daemon(scene: Scene) -> list[Finding]:
    """Ask the daemon on its socket."""
    status = scene.status
    if status is None:
        text, _, advice = scene.daemon_error.partition("; ")
        return [failed("daemon", text, advice or "start it with `damselfly daemon`")]
    return [ok("daemon", f"version {status.version} answers, process {status.pid}")]


def check_ports(scene: Scene) -> list[Finding]:
    """While the daemon is down: can it have its ports?"""
    if scene.status is not None:
        return []
    findings = []
    for address in filter(None, (scene.listen, scene.proxy)):
        if (reason := _why_not_free(address)) is None:
            findings.append(ok("port", f"{address} is free for the daemon"))
        else:
            advice = "stop what listens there, or give the daemon another address"
            findings.append(failed("port", f"the daemon cannot have {address}: {reason}", advice))
    return findings


def _why_not_free(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.closing(socket.socket(family, kind)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the daemon does
            probe.bind(place)
            probe.listen(1)
    except OSError as exc:
        return (exc.strerror or str(exc)).lower()
    return None


def check_proxy(scene: Scene) -> list[Finding]:
    """Ask the port for engines."""
    if not scene.proxy:
        return [warning("proxy", "the daemon has no port for engines", "start it with --proxy")]
    if scene.status is None:
        return [skipped("proxy", "the daemon is down")]
    address = reachable(scene.proxy)
    try:
        answer = ask(f"http://{address}/v2/")
    except UnansweredError as exc:
        advice = "look at the daemon's log, and at what else uses this port"
        return [failed("proxy", f"engines get no answer on {address}: {exc}", advice)]
    told = f"{answer.status} to /v2/"
    if answer.status == 401:  # noqa: PLR2004
        told = "and are asked to log in, as each registry decides"
    return [ok("proxy", f"engines get answers on {address}, {told}")]


def check_session(scene: Scene) -> list[Finding]:
    """Look whether the daemon and its SuperNode talk."""
    if scene.status is None:
        return [skipped("session", "the daemon is down")]
    if not scene.supernode:
        text = "the daemon has no SuperNode, so every download is direct"
        return [warning("session", text, "start it with --supernode HOST:PORT")]
    if not scene.status.is_connected:
        text = f"the daemon has no session with {scene.supernode}"
        return [failed("session", text, "see the checks of the SuperNode; the daemon tries again")]
    return [ok("session", f"the daemon has a session with {scene.supernode}")]


def check_supernode(scene: Scene) -> list[Finding]:
    """Ask the SuperNode how it is, from this host."""
    if not scene.supernode:
        return [skipped("supernode", "no SuperNode is known here")]
    try:
        answer = ask(f"http://{reachable(scene.supernode)}/healthy")
    except UnansweredError as exc:
        text = f"{scene.supernode} does not answer this host: {exc}"
        return [failed("supernode", text, "start it, or open the way to it")]
    role = ""
    with contextlib.suppress(msgspec.MsgspecError):
        told = msgspec.json.decode(answer.body)
        role = told.get("role", "") if isinstance(told, dict) else ""
    if role != "supernode":
        text = f"what answers on {scene.supernode} is no SuperNode"
        return [failed("supernode", text, "correct the daemon's --supernode")]
    if answer.status != 200:  # noqa: PLR2004
        text = f"{scene.supernode} says {answer.status} of itself"
        return [failed("supernode", text, "look at its log")]
    return [ok("supernode", f"{scene.supernode} is healthy")]


def check_clock(scene: Scene) -> list[Finding]:
    """Hold this host's clock against the SuperNode's."""
    if not scene.supernode:
        return [skipped("clock", "there is no SuperNode to compare with")]
    try:
        answer = ask(f"http://{reachable(scene.supernode)}/healthy")
    except UnansweredError:
        return [skipped("clock", "the SuperNode does not answer")]
    if answer.date_wall_s is None:
        return [skipped("clock", "the SuperNode tells no time")]
    # The header has whole seconds, cut off.
    skew_s = abs(scene.now_wall_s() - (answer.date_wall_s + 0.5))
    if skew_s < SKEW_WARNING_S:
        return [ok("clock", "it agrees with the SuperNode's")]
    text, advice = f"it differs from the SuperNode's by {skew_s:.0f} s", "set both by NTP"
    return [(failed if skew_s >= SKEW_FAILED_S else warning)("clock", text, advice)]
