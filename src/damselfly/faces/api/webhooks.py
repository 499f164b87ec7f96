"""`/webhooks/…`: registries tell what was pushed."""

from collections.abc import Callable
from typing import Final

from aiohttp import web

from damselfly.clock import wall_s
from damselfly.faces.api.access import Access
from damselfly.faces.api.answers import Answer, json_answer, told
from damselfly.services.preheating.pushed import Pushed
from damselfly.wire.preheat_messages import WebhookTold
from damselfly.wire.webhooks.distribution import parse_distribution
from damselfly.wire.webhooks.harbor import parse_harbor
from damselfly.wire.webhooks.others import parse_docker_hub, parse_generic, parse_quay
from damselfly.wire.webhooks.pushes import Webhook

SENDERS: Final[dict[str, Callable[[bytes], Webhook]]] = {
    "distribution": parse_distribution,
    "harbor": parse_harbor,
    "quay": parse_quay,
    "dockerhub": parse_docker_hub,
    "generic": parse_generic,
}
IN_QUERY: Final = ("quay", "dockerhub")  # they send what URL they are given, and no headers


class WebhooksApi:
    """Takes events in."""

    def __init__(self, pushed: Pushed, access: Access) -> None:
        self._pushed = pushed
        self._access = access

    def add_routes(self, app: web.Application) -> None:
        """Add its paths."""
        for sender in SENDERS:
            app.router.add_post(f"/webhooks/{sender}", told(self._take_in(sender)))

    def _take_in(self, sender: str) -> Answer:
        async def take_in(request: web.Request) -> web.Response:
            body = await request.read()
            self._access.check(request, body=body, in_query=sender in IN_QUERY)
            webhook = SENDERS[sender](body)
            outcome = await self._pushed.take_in(sender, webhook.pushes, now_s=wall_s())
            return json_answer(
                WebhookTold(
                    accepted=outcome.accepted,
                    repeated=outcome.repeated,
                    outdated=outcome.outdated,
                    ignored=webhook.ignored,
                )
            )

        return take_in
