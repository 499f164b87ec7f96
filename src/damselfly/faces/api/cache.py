"""`/api/v1/cache`: what is in a SuperNode's cache, and what is done with it, from elsewhere.

Nothing is put in or taken out here: the token is also that of whoever starts preheats, and who
imports by URL or exports gets past the sources. That stays with the machine's own socket.
"""

import asyncio

from aiohttp import web

from damselfly.faces.api.access import Access
from damselfly.faces.api.answers import json_answer, told
from damselfly.services.cache_care.orders import CacheOrders
from damselfly.wire.cache_messages import CacheOrder, decode_json


class CacheApi:
    """Answers what operators ask of a cache."""

    def __init__(self, orders: CacheOrders, access: Access) -> None:
        self._orders = orders
        self._access = access

    def add_routes(self, app: web.Application) -> None:
        """Add its paths."""
        app.router.add_get("/api/v1/cache", told(self._list))
        app.router.add_post("/api/v1/cache", told(self._order))

    async def _list(self, request: web.Request) -> web.Response:
        self._access.check(request)
        return json_answer(await asyncio.to_thread(self._orders.listing))

    async def _order(self, request: web.Request) -> web.Response:
        """Carry an order out; on the socket, too, not everybody of this host may."""
        self._access.check(request, is_open_here=False)
        order: CacheOrder = decode_json(await request.read(), CacheOrder)
        return json_answer(await asyncio.to_thread(self._orders.carry_out, order))
