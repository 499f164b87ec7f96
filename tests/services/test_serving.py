"""Guards what is said where nobody can listen."""

import pytest
from aiohttp import web

from damselfly.errors import AddressInUseError
from damselfly.services.peering.web_server import serving


@pytest.mark.parametrize(
    ("listen", "words"), [("nowhere.invalid:0", "not known"), ("192.0.2.1:0", "assign requested")]
)
async def test_an_address_where_nobody_can_listen_is_named_with_its_reason(
    listen: str, words: str
) -> None:
    with pytest.raises(AddressInUseError, match=f"on {listen}: .*{words}"):
        async with serving(web.Application(), listen):
            pass
