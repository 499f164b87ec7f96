"""Each check of doctor by itself: what is so, and what to do."""

import contextlib
import http.server
import shutil
import socket
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
import pytest

from damselfly.clock import wall_s
from damselfly.services.ca_files import certificate_path, key_path
from damselfly.services.doctor import examination
from damselfly.services.doctor.asking import UnansweredError, ask, reachable
from damselfly.services.doctor.engines import check_engines
from damselfly.services.doctor.findings import Finding, Scene, TriedRegistry, Verdict
from damselfly.services.doctor.host import check_ca, check_disk, check_open_files
from damselfly.services.doctor.registries import check_registries, registries_to_try
from damselfly.services.doctor.swarm import (
    check_clock,
    check_daemon,
    check_ports,
    check_proxy,
    check_session,
    check_supernode,
)
from damselfly.services.engine_setup.plans import Engine, Registry, Wish
from damselfly.services.engine_setup.setup import EngineSetup
from damselfly.services.options import RegistryOptions
from damselfly.services.own_ca import make_ca
from engines.programs import free_port
from faces.cli.statuses import a_status

DAY_S = 86400.0


def a_scene(**fields: Any) -> Scene:  # noqa: ANN401
    usual: dict[str, Any] = {
        "status": a_status(),
        "listen": "127.0.0.1:0",
        "proxy": "127.0.0.1:65001",
        "supernode": "",
        "data": "/nowhere",
    }
    return Scene(**{**usual, **fields})


@contextlib.contextmanager
def answering(body: bytes = b"{}", status: int = 200, date: str = "") -> Iterator[str]:
    """Serve one answer to everything; gives `host:port`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            self.send_header("Date", date or formatdate(usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def listening() -> Iterator[str]:
    """Take a port and answer nothing; gives `host:port`."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def unused() -> str:
    return f"127.0.0.1:{free_port()}"


def verdicts(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.verdict) for finding in findings]


# --- engines


def a_host(root: Path, *programs: str) -> str:
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    for program in programs:
        (root / "usr/bin" / program).touch()
    return str(root)


def test_host_without_engines_has_nothing_to_check(tmp_path: Path) -> None:
    assert verdicts(check_engines(a_scene(root=str(tmp_path)))) == [("engine", "skipped")]


def test_engines_that_are_not_set_up_are_told_how(tmp_path: Path) -> None:
    root = a_host(tmp_path, "containerd", "dockerd", "podman", "crio")

    findings = check_engines(a_scene(root=root))

    assert [finding.verdict for finding in findings] == [Verdict.WARNING] * 4
    assert [finding.advice for finding in findings] == [
        f"run `damselfly install {engine}`" for engine in Engine
    ]


def test_advice_names_the_port_of_a_daemon_that_is_elsewhere(tmp_path: Path) -> None:
    root = a_host(tmp_path, "podman")

    (finding,) = check_engines(a_scene(root=root, proxy="127.0.0.1:7000"))

    assert finding.advice == "run `damselfly install podman --proxy 127.0.0.1:7000`"


def test_engines_that_are_set_up_are_fine(tmp_path: Path) -> None:
    root = a_host(tmp_path, "containerd", "dockerd", "podman", "crio")
    for engine in Engine:
        EngineSetup(root).install(engine, Wish(proxy="127.0.0.1:65001"))

    findings = check_engines(a_scene(root=root))

    assert [finding.verdict for finding in findings] == [Verdict.OK] * 4


def test_engine_set_up_for_another_port_is_told(tmp_path: Path) -> None:
    root = a_host(tmp_path, "dockerd")
    EngineSetup(root).install(Engine.DOCKER, Wish(proxy="127.0.0.1:7000"))

    (finding,) = check_engines(a_scene(root=root))

    assert finding.verdict == Verdict.FAILED
    assert finding.advice == "run `damselfly install docker --proxy 127.0.0.1:65001`"


@pytest.mark.parametrize(
    ("program", "engine", "path", "text", "word"),
    [
        ("dockerd", Engine.DOCKER, "etc/docker/daemon.json", "{}", "registry-mirrors"),
        ("dockerd", Engine.DOCKER, "etc/docker/daemon.json", "{", "no JSON"),
        (
            "dockerd",
            Engine.DOCKER,
            "etc/systemd/system/docker.service.d/damselfly.conf",
            "[Service]",
            "another proxy",
        ),
        ("containerd", Engine.CONTAINERD, "etc/containerd/config.toml", "version = 2", "no folder"),
        ("containerd", Engine.CONTAINERD, "etc/containerd/config.toml", "[", "no TOML"),
        (
            "containerd",
            Engine.CONTAINERD,
            "etc/containerd/certs.d/_default/hosts.toml",
            '[host."https://other"]\n[host."http://127.0.0.1:65001"]',
            "not the first host",
        ),
        (
            "podman",
            Engine.PODMAN,
            "etc/containers/registries.conf.d/zz.conf",
            '[[registry]]\nlocation = "quay.io"',
            "another file speaks for quay.io",
        ),
        (
            "podman",
            Engine.PODMAN,
            "etc/containers/registries.conf.d/damselfly.conf",
            "",
            "there is no",
        ),
    ],
)
def test_set_up_that_no_longer_holds_is_found(
    program: str, engine: Engine, path: str, text: str, word: str, tmp_path: Path
) -> None:
    root = a_host(tmp_path, program)
    EngineSetup(root).install(engine, Wish(proxy="127.0.0.1:65001"))
    (tmp_path / path).write_text(text)

    (finding,) = check_engines(a_scene(root=root))

    assert finding.verdict == Verdict.FAILED
    assert word in finding.text
    assert finding.advice


def test_docker_that_trusts_an_older_ca_is_told(tmp_path: Path) -> None:
    root, data = a_host(tmp_path / "root", "dockerd"), str(tmp_path)
    make_ca(data)
    ca_text = certificate_path(data).read_text()
    wish = Wish(proxy="127.0.0.1:65001", registries=(Registry(name="quay.io"),), ca_text=ca_text)
    EngineSetup(root).install(Engine.DOCKER, wish)
    (before,) = check_engines(a_scene(root=root, data=data))
    shutil.rmtree(certificate_path(data).parent)
    make_ca(data)

    (after,) = check_engines(a_scene(root=root, data=data))

    assert before.verdict == Verdict.OK
    assert (after.verdict, "quay.io" in after.text) == (Verdict.FAILED, True)


# --- daemon, SuperNode


def test_daemon_that_answers_is_fine_and_another_is_started() -> None:
    (fine,) = check_daemon(a_scene())
    (gone,) = check_daemon(a_scene(status=None, daemon_error="nobody there; start one"))

    assert fine == Finding("daemon", Verdict.OK, "version 0.1.0 answers, process 7")
    assert gone == Finding("daemon", Verdict.FAILED, "nobody there", "start one")


def test_port_that_somebody_else_has_is_told_while_the_daemon_is_down() -> None:
    with listening() as taken:
        scene = a_scene(status=None, listen=taken, proxy=unused())

        assert verdicts(check_ports(scene)) == [("port", "failed"), ("port", "ok")]
        assert check_ports(a_scene(listen=taken)) == []  # it is the daemon's own


def test_proxy_port_must_answer() -> None:
    with answering(status=401) as address:
        (finding,) = check_proxy(a_scene(proxy=address))
        assert finding.verdict == "ok"
        assert "401" not in finding.text  # which would look like a failure
    assert verdicts(check_proxy(a_scene(proxy=unused()))) == [("proxy", "failed")]
    assert verdicts(check_proxy(a_scene(proxy=""))) == [("proxy", "warning")]
    assert verdicts(check_proxy(a_scene(status=None))) == [("proxy", "skipped")]


def test_session_is_what_the_daemon_says() -> None:
    lost = a_status(is_connected=False)

    assert verdicts(check_session(a_scene(supernode="sn:1"))) == [("session", "ok")]
    assert verdicts(check_session(a_scene(supernode="sn:1", status=lost))) == [
        ("session", "failed")
    ]
    assert verdicts(check_session(a_scene(supernode=""))) == [("session", "warning")]
    assert verdicts(check_session(a_scene(status=None))) == [("session", "skipped")]


@pytest.mark.parametrize(
    ("body", "status", "verdict"),
    [
        (b'{"role": "supernode"}', 200, "ok"),
        (b'{"role": "supernode"}', 503, "failed"),
        (b'{"role": "daemon"}', 200, "failed"),
        (b"[]", 200, "failed"),
        (b"<html>", 404, "failed"),
    ],
)
def test_supernode_must_be_one(body: bytes, status: int, verdict: str) -> None:
    with answering(body, status) as address:
        assert verdicts(check_supernode(a_scene(supernode=address))) == [("supernode", verdict)]


def test_supernode_that_does_not_answer_is_told() -> None:
    (finding,) = check_supernode(a_scene(supernode=unused()))

    assert (finding.verdict, "refused" in finding.text) == (Verdict.FAILED, True)
    assert verdicts(check_supernode(a_scene())) == [("supernode", "skipped")]


@pytest.mark.parametrize(
    ("ahead_s", "verdict"), [(0, "ok"), (-20, "warning"), (20, "warning"), (300, "failed")]
)
def test_clocks_are_compared(ahead_s: float, verdict: str) -> None:
    with answering() as address:
        scene = a_scene(supernode=address, now_wall_s=lambda: wall_s() + ahead_s)

        assert verdicts(check_clock(scene)) == [("clock", verdict)]


def test_clock_that_cannot_be_read_is_not_judged() -> None:
    with answering(date="soon") as address:
        assert verdicts(check_clock(a_scene(supernode=address))) == [("clock", "skipped")]
    assert verdicts(check_clock(a_scene(supernode=unused()))) == [("clock", "skipped")]
    assert verdicts(check_clock(a_scene())) == [("clock", "skipped")]


# --- registries


def tried(address: str) -> tuple[TriedRegistry, ...]:
    return tuple(registries_to_try([Registry(name=address)], []))


def test_registry_is_asked_both_ways() -> None:
    with answering(status=401) as registry, answering() as proxy:
        scene = a_scene(registries=tried(registry), proxy=proxy)
        assert [finding.verdict for finding in check_registries(scene)] == ["ok", "ok"]
    why = b'{"errors": [{"code": "UNKNOWN", "message": "its name is not known"}]}'
    for body, reason in ((why, "502 to /v2/: its name is not known"), (b"?", "502 to /v2/")):
        with answering(body, status=502) as proxy:
            scene = a_scene(registries=tried(unused()), proxy=proxy)
            straight, through = check_registries(scene)

        assert (straight.verdict, "refused" in straight.text) == (Verdict.WARNING, True)
        assert through.verdict is Verdict.FAILED
        assert through.text.endswith(reason)


def test_registries_of_the_settings_are_tried_where_they_are() -> None:
    known = [RegistryOptions(name="registry.test", url="http://10.0.0.1:5000", ca_file="x.pem")]

    found = list(registries_to_try([Registry(name="a.test", is_plain_http=True)], known))

    assert [(each.name, each.urls) for each in found] == [
        ("a.test", ("http://a.test",)),
        ("registry.test", ("http://10.0.0.1:5000",)),
    ]


def test_registries_are_skipped_without_names_or_daemon() -> None:
    assert verdicts(check_registries(a_scene())) == [("registry", "skipped")]
    scene = a_scene(registries=tried(unused()), status=None)
    assert [finding.verdict for finding in check_registries(scene)] == ["warning", "skipped"]


# --- asking


def test_what_does_not_answer_is_told_in_words() -> None:
    with pytest.raises(UnansweredError, match="resolved"):
        ask("http://no-such-host.invalid/")
    with answering() as address, pytest.raises(UnansweredError):
        ask(f"https://{address}/")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def babble() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"SSH-2.0-x\r\n\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(UnansweredError, match="no HTTP"):
            ask(f"http://127.0.0.1:{port}/")
        thread.join()


def test_everywhere_is_reached_on_loopback() -> None:
    assert reachable("0.0.0.0:1") == "127.0.0.1:1"
    assert reachable("[::]:1") == "[::1]:1"
    assert reachable("10.0.0.1:1") == "10.0.0.1:1"


# --- the host


def test_ca_is_private_and_valid(tmp_path: Path) -> None:
    data = str(tmp_path)
    assert verdicts(check_ca(a_scene(data=data))) == [("ca", "skipped")]
    make_ca(data)
    assert verdicts(check_ca(a_scene(data=data))) == [("ca", "ok")]

    def after(days: float) -> str:
        return check_ca(a_scene(data=data, now_wall_s=lambda: wall_s() + days * DAY_S))[0].verdict

    assert (after(3640), after(4000)) == ("warning", "failed")
    key_path(data).chmod(0o640)
    (finding,) = check_ca(a_scene(data=data))
    assert (finding.verdict, finding.advice[:9]) == (Verdict.FAILED, "chmod 600")
    key_path(data).chmod(0o600)
    certificate_path(data).write_text("none")
    assert check_ca(a_scene(data=data))[0].verdict == Verdict.FAILED


@pytest.mark.parametrize(
    ("free_gib", "reserve_gib", "quota_gib", "verdict"),
    [
        (50, 1, 0, "ok"),
        (1, 1, 0, "failed"),
        (1.5, 1, 0, "warning"),
        (50, 1, 1 << 40, "warning"),
    ],
)
def test_disk_must_have_room(
    free_gib: float, reserve_gib: int, quota_gib: int, verdict: str, tmp_path: Path
) -> None:
    cache = msgspec.structs.replace(
        a_status().cache,
        data=str(tmp_path),
        disk_free_bytes=int(free_gib * (1 << 30)),
        reserve_bytes=reserve_gib << 30,
        quota_bytes=quota_gib << 30,
    )

    assert verdicts(check_disk(a_scene(status=a_status(cache=cache)))) == [("disk", verdict)]


def test_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    cache = msgspec.structs.replace(a_status().cache, data=str(tmp_path / "gone"))

    (finding,) = check_disk(a_scene(status=a_status(cache=cache)))

    assert (finding.verdict, "no such file" in finding.text) == (Verdict.FAILED, True)


@pytest.mark.parametrize(("limit", "verdict"), [(65536, "ok"), (1024, "warning"), (256, "failed")])
def test_open_files_are_those_of_the_daemon(limit: int, verdict: str) -> None:
    scene = a_scene(status=a_status(open_files_max=limit))

    assert verdicts(check_open_files(scene)) == [("open files", verdict)]


def test_every_check_is_made_though_all_else_is_down() -> None:
    findings = examination.examine(
        a_scene(root="/nowhere", status=None, daemon_error="nobody there", proxy=unused())
    )

    assert {finding.check for finding in findings} >= {
        *("engine", "daemon", "port", "proxy", "session", "supernode", "clock"),
        *("registry", "ca", "disk", "open files"),
    }
    assert all(finding.advice for finding in findings if finding.verdict in ("failed", "warning"))
