"""All of the API on a SuperNode's port."""

from aiohttp import web

from damselfly.faces.api.access import Access
from damselfly.faces.api.answers import json_answer
from damselfly.faces.api.cache import CacheApi
from damselfly.faces.api.openapi import openapi
from damselfly.faces.api.preheats import PreheatsApi
from damselfly.faces.api.providers import ProvidersApi
from damselfly.faces.api.webhooks import WebhooksApi
from damselfly.services.cache_care.orders import CacheOrders
from damselfly.services.options import SuperNodeOptions
from damselfly.services.preheating.preheats import Preheats
from damselfly.settings import read_secret


def add_api(
    app: web.Application, options: SuperNodeOptions, preheats: Preheats, orders: CacheOrders
) -> None:
    """Add the API to the application of a SuperNode.

    Raises:
        SettingsError: A file with a secret cannot be read.
    """
    settings = options.preheat
    access = Access(
        read_secret(settings.token_file, "DAMSELFLY_API_TOKEN", key="preheat.token_file"),
        what="the token of the API",
        setting="preheat.token_file",
    )
    webhook_access = Access(
        read_secret(
            settings.webhook_secret_file,
            "DAMSELFLY_WEBHOOK_SECRET",
            key="preheat.webhook_secret_file",
        ),
        what="the secret of the webhook",
        setting="preheat.webhook_secret_file",
    )

    async def tell_openapi(_: web.Request) -> web.Response:
        return json_answer(openapi())

    app.router.add_get("/api/v1/openapi.json", tell_openapi)
    CacheApi(orders, access).add_routes(app)
    PreheatsApi(preheats.preheating, access).add_routes(app)
    WebhooksApi(preheats.pushed, webhook_access).add_routes(app)
    ProvidersApi(
        settings,
        preheats.preheating,
        preheats.pushed,
        warmer=preheats.warmer,
        access=access,
        webhook_access=webhook_access,
    ).add_routes(app)
