"""Guards what is said where nobody can listen, and what lies there."""

import socket
from pathlib import Path

import pytest
from aiohttp import web

from damselfly.errors import AddressInUseError
from damselfly.services.peering.web_server import serving, serving_unix


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
