"""CONNECT: tunnels that nobody touches, and opened ones in which the rules see requests."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509

from damselfly.core.proxying.rules import Action, ProxyRule, Target
from damselfly.errors import SettingsError
from damselfly.faces.proxy.access import Client, Gate, check_destination, is_own
from damselfly.faces.proxy.refusals import RefusedError
from damselfly.faces.proxy.tunnel import Tunnels
from damselfly.faces.proxy.upstream import Upstream
from damselfly.services.options import ProxyOptions, SourceOptions
from damselfly.services.peering.web_server import serving
from damselfly.settings import read_proxy_secret
from faces.proxies import LOOPBACK_PEM, a_proxy, a_server, read_message
from fakes.source import FakeSource

DATA = bytes(range(256)) * 4096
OPENED = ProxyRule(action=Action.P2P, host="127.0.0.1", path="/models/**")
HERE = Client(address="127.0.0.1", is_here=True, port=65001)
ELSEWHERE = Client(address="192.0.2.7", is_here=False, port=65001)


@pytest.fixture
async def secure() -> AsyncIterator[FakeSource]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(LOOPBACK_PEM)
    async with FakeSource(tls=context) as source:
        source.add("/models/a", DATA)
        yield source


def port_of(source: FakeSource) -> int:
    return int(source.url("").rpartition(":")[2])


async def test_a_host_that_no_rule_names_is_tunnelled_untouched(
    tmp_path: Path, secure: FakeSource
) -> None:
    async with a_proxy(tmp_path, connect_ports=(port_of(secure),)) as proxy:
        got = await proxy.curl(
            "--cacert",
            str(LOOPBACK_PEM),
            secure.url("/models/a"),
            "--output",
            str(tmp_path / "got"),
        )
        other_ca = await proxy.curl("--cacert", str(proxy.ca_file), secure.url("/models/a"))

    assert got.out.split() == ["200", "200"]
    assert (tmp_path / "got").read_bytes() == DATA
    assert other_ca.code == 60  # it saw the server's own certificate, which our CA did not sign


async def test_a_host_that_a_rule_names_is_opened_with_our_ca(
    tmp_path: Path, secure: FakeSource
) -> None:
    async with a_proxy(tmp_path, OPENED, connect_ports=(port_of(secure),)) as proxy:
        url = secure.url("/models/a")
        got = await proxy.curl(
            "--cacert", str(proxy.ca_file), url, "--output", str(tmp_path / "got")
        )
        head = await proxy.curl("--cacert", str(proxy.ca_file), "--head", url)
        distrusted = await proxy.curl("--cacert", str(LOOPBACK_PEM), url)

    assert got.out.split() == ["200", "200"]
    assert (tmp_path / "got").read_bytes() == DATA
    assert f"Content-Length: {len(DATA)}" in head.out
    assert distrusted.code == 60
    assert all(seen["Via"].startswith("1.1 damselfly-") for seen in secure.headers_seen)
    assert proxy.ways == ["opened", "p2p", "opened", "direct", "opened"]


async def test_a_body_is_asked_for_inside_an_opened_connection(
    tmp_path: Path, secure: FakeSource
) -> None:
    (tmp_path / "body").write_bytes(DATA)
    async with a_proxy(tmp_path, OPENED, connect_ports=(port_of(secure),)) as proxy:
        flags = ("--cacert", str(proxy.ca_file), "--header", "Expect: 100-continue", "--verbose")
        body = ("--data-binary", f"@{tmp_path}/body", "--output", "/dev/null")
        # Without the word curl would wait for longer than this test may take.
        got = await proxy.curl(*flags, "--expect100-timeout", "600", *body, secure.url("/models/a"))

    assert got.out.split()[0] == "200"
    assert got.err.count("HTTP/1.1 100 Continue") == 1


async def test_an_opened_connection_takes_many_requests(tmp_path: Path, secure: FakeSource) -> None:
    secure.add("/other", b"other")
    async with a_proxy(tmp_path, OPENED, connect_ports=(port_of(secure),)) as proxy:
        urls = [secure.url("/other"), secure.url("/other"), secure.url("/missing")]
        got = await proxy.curl("--cacert", str(proxy.ca_file), "--verbose", *urls)

    assert got.out.count("other") == 2
    assert "using existing connection" in got.err
    assert [request.status for request in secure.requests] == [200, 200, 404]


async def test_the_source_is_verified_for_the_client(tmp_path: Path, secure: FakeSource) -> None:
    ports = (port_of(secure),)
    async with a_proxy(tmp_path, OPENED, connect_ports=ports, source=SourceOptions()) as proxy:
        got = await proxy.curl("--cacert", str(proxy.ca_file), secure.url("/models/a"))

    assert "its certificate is not trusted" in got.out
    assert got.out.split()[-2:] == ["502", "200"]


async def test_an_opened_connection_is_for_its_host_alone(
    tmp_path: Path, secure: FakeSource
) -> None:
    async with a_proxy(tmp_path, OPENED, connect_ports=(port_of(secure),)) as proxy:
        url = secure.url("/models/a")
        got = await proxy.curl("--cacert", str(proxy.ca_file), "--header", "Host: b.example", url)

    assert "open another one" in got.out
    assert got.out.split()[-2:] == ["421", "200"]


async def test_another_protocol_passes_inside_an_opened_connection(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello ")
        writer.write(await reader.readexactly(5))

    async with a_server(talk) as port:
        plain = ProxyRule(
            action=Action.REDIRECT, host="hub.invalid", redirect_to=f"http://127.0.0.1:{port}"
        )
        async with a_proxy(tmp_path, plain) as proxy:
            reader, writer = await proxy.tunnel("hub.invalid:443")
            context = ssl.create_default_context(cafile=proxy.ca_file)
            await writer.start_tls(context, server_hostname="hub.invalid")
            writer.write(b"GET / HTTP/1.1\r\nHost: hub.invalid\r\nUpgrade: x\r\n")
            writer.write(b"Connection: Upgrade\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"world")
            rest = await reader.readexactly(11)
            writer.close()

    assert head.startswith(b"HTTP/1.1 101 ")
    assert rest == b"hello world"


async def test_a_client_that_begins_tls_too_early_is_told(tmp_path: Path) -> None:
    rule = ProxyRule(action=Action.P2P, host="a.example")
    async with a_proxy(tmp_path, rule) as proxy:
        answer = await proxy.say(b"CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01")

    assert b"wait for the answer to CONNECT" in answer


async def test_a_connection_goes_on_after_a_refusal_and_takes_connect_after_other_requests(
    tmp_path: Path,
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"got " + await reader.readexactly(5))

    async with (
        a_server(talk) as port,
        a_proxy(tmp_path, connect_ports=(port,), secret="joe:x") as proxy,
    ):
        reader, writer = await proxy.connection()
        connect = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n" % port
        for request, status in (
            (b"GET /v2/ HTTP/1.1\r\nHost: x\r\n", b"200"),
            (connect, b"407"),
            (connect + b"Proxy-Authorization: Basic am9lOng=\r\n", b"200"),
        ):
            writer.write(request + b"\r\n")
            assert (await read_message(reader)).startswith(b"HTTP/1.1 " + status)
        writer.write(b"hello")
        assert await reader.read() == b"got hello"
        writer.close()


async def test_what_comes_with_connect_is_carried(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"got " + await reader.readexactly(5))

    async with a_server(talk) as port, a_proxy(tmp_path, connect_ports=(port,)) as proxy:
        reader, writer = await proxy.connection()
        writer.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\nearly" % port)
        answer = await reader.read()
        writer.close()

    assert answer.endswith(b"\r\n\r\ngot early")


async def test_one_side_may_end_while_the_other_goes_on(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.read()  # to the end
        writer.write(said[::-1] * 100_000)

    async with a_server(talk) as port, a_proxy(tmp_path, connect_ports=(port,)) as proxy:
        reader, writer = await proxy.tunnel(f"127.0.0.1:{port}")
        writer.write(b"abc")
        writer.write_eof()
        assert await reader.read() == b"cba" * 100_000
        writer.close()


async def test_a_reset_is_passed_on_as_a_reset(tmp_path: Path) -> None:
    async with FakeSource() as source:
        source.add("/file", DATA, reset_after_bytes=100_000)
        port = port_of(source)
        async with a_proxy(tmp_path, connect_ports=(port,)) as proxy:
            reader, writer = await proxy.tunnel(f"127.0.0.1:{port}")
            writer.write(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()


async def test_an_idle_tunnel_is_closed_and_a_busy_one_is_not(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)

    async with a_server(talk) as port:
        ports, idle_s = (port,), 1.0
        async with a_proxy(tmp_path, connect_ports=ports, idle_timeout_s=idle_s) as proxy:
            reader, writer = await proxy.tunnel(f"127.0.0.1:{port}")
            for _ in range(7):  # for longer than it may be idle
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                await asyncio.sleep(0.2)
            assert await reader.read() == b""
            writer.close()


async def test_there_are_no_more_tunnels_than_may_be(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        a_server(talk) as port,
        a_proxy(tmp_path, connect_ports=(port,), tunnels_max=2) as proxy,
    ):
        first = await proxy.tunnel(f"127.0.0.1:{port}")
        second = await proxy.tunnel(f"127.0.0.1:{port}")
        request = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % port
        refused = await proxy.say(request)
        first[1].close()
        while (again := await proxy.say(request)).startswith(b"HTTP/1.1 503"):
            await asyncio.sleep(0.01)
        second[1].close()

    assert b"all 2 tunnels are in use" in refused
    assert again.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
async def test_a_connect_to_the_daemon_itself_is_a_loop(tmp_path: Path, host: str) -> None:
    async with a_proxy(tmp_path) as proxy:
        answer = await proxy.say(
            f"CONNECT {host}:{proxy.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )

    assert answer.startswith(b"HTTP/1.1 508 ")
    assert b"is this proxy itself" in answer


@pytest.mark.parametrize(
    ("authority", "status", "words"),
    [
        ("127.0.0.1:25", "403", "port 25 is not allowed"),
        ("127.0.0.1:1", "502", "connection refused"),
        ("nowhere.invalid:1", "502", "its name is not known"),
    ],
)
async def test_a_connect_that_leads_nowhere_is_told_why(
    tmp_path: Path, authority: str, status: str, words: str
) -> None:
    async with a_proxy(tmp_path, connect_ports=(443, 1)) as proxy:
        answer = await proxy.say(f"CONNECT {authority} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert words.encode() in answer


async def test_a_rule_allows_the_port_that_it_names(tmp_path: Path, secure: FakeSource) -> None:
    rule = ProxyRule(host=f"127.0.0.1:{port_of(secure)}")

    async with a_proxy(tmp_path, rule) as proxy:
        got = await proxy.curl("--cacert", str(LOOPBACK_PEM), secure.url("/models/a"), "--head")

    assert got.out.split()[-2:] == ["200", "200"]


async def test_certificates_name_their_host_and_end_soon(tmp_path: Path) -> None:
    rule = ProxyRule(action=Action.P2P, host="*.invalid")
    async with a_proxy(tmp_path, rule) as proxy:
        _, writer = await proxy.tunnel("A.hub.invalid:443")
        context = ssl.create_default_context(cafile=proxy.ca_file)
        await writer.start_tls(context, server_hostname="a.hub.invalid")
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()

    certificate = x509.load_der_x509_certificate(der)
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime.days <= 8


def test_the_proxy_is_not_open() -> None:
    for listen in ("0.0.0.0:1", "192.0.2.1:1", "[::]:1", ":1"):
        with pytest.raises(SettingsError, match="everybody could use it"):
            Gate(ProxyOptions(listen=listen))
    for listen in ("127.0.0.1:1", "[::1]:1", "localhost:1"):
        Gate(ProxyOptions(listen=listen))
    with pytest.raises(SettingsError, match="user:password"):
        Gate(ProxyOptions(), secret="just-a-word")


def test_who_may_do_what() -> None:
    allowed = Gate(ProxyOptions(listen="0.0.0.0:1", allow=("192.0.2.0/24",)))
    by_secret = Gate(ProxyOptions(listen="0.0.0.0:1"), secret="joe:x")
    stranger = Client(address="198.51.100.1", is_here=False, port=1)

    assert allowed.may_proxy(ELSEWHERE)
    assert allowed.may_mirror(ELSEWHERE)
    assert not allowed.may_proxy(stranger)
    assert by_secret.may_proxy(stranger)
    assert not by_secret.may_mirror(stranger)
    assert by_secret.may_mirror(HERE)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "0.0.0.0"])
def test_clients_elsewhere_reach_nothing_that_is_this_hosts_alone(address: str) -> None:
    with pytest.raises(RefusedError, match="clients on other hosts") as refused:
        check_destination(ELSEWHERE, "metadata.example", 80, [address])

    assert refused.value.http_status == 403
    check_destination(HERE, "metadata.example", 80, [address])


async def test_a_name_that_leads_to_this_host_is_closed_to_clients_elsewhere() -> None:
    tunnels = Tunnels(tunnels_max=1, idle_timeout_s=1)
    upstream = Upstream(SourceOptions(), answer_timeout_s=1, via="1.1 x", tunnels=tunnels)

    async def handle(request: web.Request) -> web.StreamResponse:
        target = Target.parse(f"http://localhost:{request.url.port}/")
        with pytest.raises(RefusedError, match="clients on other hosts") as refused:
            await upstream.ask(request, target, is_trusted=False)
        return web.Response(status=refused.value.http_status)

    app = web.Application()
    app.router.add_get("/", handle)
    async with serving(app, "127.0.0.1:0") as address, aiohttp.ClientSession() as client:
        assert (await client.get(f"http://{address}/")).status == 403
    await upstream.close()


def test_own_addresses() -> None:
    assert is_own("127.0.0.1")
    assert is_own("::1")
    assert not is_own("192.0.2.7")


def test_a_secret_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("joe:x\n")
    monkeypatch.setenv("DAMSELFLY_PROXY_AUTH", "ann:y")

    assert read_proxy_secret(ProxyOptions(auth_file=str(tmp_path / "secret"))) == "joe:x"
    assert read_proxy_secret(ProxyOptions()) == "ann:y"
    with pytest.raises(SettingsError, match="cannot be read"):
        read_proxy_secret(ProxyOptions(auth_file=str(tmp_path / "missing")))
