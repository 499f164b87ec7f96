"""Guards where the server listens, and that it answers whatever comes or cannot be taken."""

import asyncio
import io
import json
import socket
from pathlib import Path

import pytest
from aiohttp import web

from damselfly.errors import AddressInUseError
from damselfly.services.peering.web_server import serving, serving_unix
from damselfly.telemetry.log import set_up_log
from services.files import no_more_files


@pytest.mark.parametrize(
    ("listen", "words"), [("nowhere.invalid:0", "not known"), ("192.0.2.1:0", "assign requested")]
)
async def test_an_address_where_nobody_can_listen_is_named_with_its_reason(
    listen: str, words: str
) -> None:
    with pytest.raises(AddressInUseError, match=f"on {listen}: .*{words}"):
        async with serving(web.Application(), listen):
            pass


async def test_file_where_the_socket_would_be_is_left_alone(tmp_path: Path) -> None:
    """A daemon removed it, whatever it was, to put its socket there."""
    path = tmp_path / "notes"
    path.write_text("dear")
    with pytest.raises(AddressInUseError, match="no socket; choose another path"):
        async with serving_unix(web.Application(), str(path), mode=0o600, group_id=-1):
            pass

    assert path.read_text() == "dear"


async def test_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with serving_unix(web.Application(), str(path), mode=0o600, group_id=-1):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    assert not path.exists()


async def test_request_for_a_host_that_is_no_name_is_answered() -> None:
    """Its client waited for ever: aiohttp gave up without an answer."""
    async with serving(web.Application(), "127.0.0.1:0") as address:
        host, _, port = address.rpartition(":")
        for target in ("GET http://xn--.example/", "CONNECT xn--.example:443"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            async with asyncio.timeout(10):
                assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
            writer.close()


async def test_connection_that_no_file_is_left_for_is_one_line_in_the_log_and_waits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It was thousands of lines a second, and no JSON."""
    log = io.StringIO()
    set_up_log(stream=log)
    async with serving(web.Application(), "127.0.0.1:0") as address:
        host, _, port = address.rpartition(":")
        client = socket.create_connection((host, int(port)))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with no_more_files():
            async with asyncio.timeout(10):
                while not log.getvalue():
                    await asyncio.sleep(0)
        async with asyncio.timeout(10):  # asyncio tries again after a second
            answer = await asyncio.to_thread(client.recv, 100)
        client.close()

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["connection_not_taken"]
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert capsys.readouterr().err == ""
