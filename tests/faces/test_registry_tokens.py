"""Guards logging in by the mirror's own tokens, each way that registries want it."""

import json
from pathlib import Path

import pytest

from damselfly.faces.proxy.registry_tokens import for_registry
from faces.mirrors import Engine, Told, an_engine
from fakes.registry import FakeRegistry
from fakes.source import random_bytes
from services.hosts import a_host

SMALL = random_bytes(100, seed=1)
BASIC = "Basic dXNlcjpwYXNz"


async def token_for(engine: Engine, registry: FakeRegistry, **headers: str) -> Told:
    """Ask as containers/image does, for lib/app of a registry."""
    scope = f"repository%3A{registry.host.replace(':', '_')}%2Flib%2Fapp%3Apull"
    async with engine._client.get(
        f"http://{engine._address}/v2/token?account=user&scope={scope}&service=damselfly",
        headers=headers,
    ) as told:
        return Told(told.status, told.headers, await told.read())


def token_in(told: Told) -> str:
    assert told.status == 200, told.body
    token: str = json.loads(told.body)["token"]
    return token


def prefixed(registry: FakeRegistry, path: str) -> str:
    return path.replace("/v2/", f"/v2/{registry.host.replace(':', '_')}/")


async def test_registry_with_tokens_gives_its_own(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", SMALL, accepted={"Bearer theirs"})
        realm = f'Bearer realm="{registry.url("/token")}",service="theirs"'
        registry.add("/v2/", b"{}", accepted={"Bearer theirs"}, challenge=realm)
        registry.add("/token", b'{"token": "theirs", "expires_in": 60}', accepted={BASIC})
        async with an_engine(host, "") as engine:
            refused = await token_for(engine, registry, Authorization="Basic d3Jvbmc=")
            told = await token_for(engine, registry, Authorization=BASIC)
            path = prefixed(registry, image.manifest_path)
            manifest = await engine.ask(path, token=token_in(told))
            strange = await engine.ask(path, token="other")

    assert refused.status == 401
    assert token_in(told) == "theirs"
    assert told.headers["Cache-Control"] == "no-store"
    assert (manifest.status, manifest.body) == (200, image.manifest)
    assert strange.status == 401


async def test_registry_with_passwords_gets_the_users_own(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", SMALL, accepted={BASIC})
        registry.add("/v2/", b"{}", accepted={BASIC}, challenge='Basic realm="theirs"')
        async with an_engine(host, "") as engine:
            path = prefixed(registry, image.tag_path)
            token = token_in(await token_for(engine, registry, Authorization=BASIC))
            nobody = token_in(await token_for(engine, registry))
            allowed = await engine.ask(path, token=token)
            refused = await engine.ask(path, token=nobody)

    assert (allowed.status, allowed.body) == (200, image.manifest)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == registry.contents[image.tag_path].challenge


async def test_open_registry_is_asked_without_credentials(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", SMALL)
        registry.add("/v2/", b"{}")
        async with an_engine(host, "") as engine:
            token = token_in(await token_for(engine, registry))
            told = await engine.ask(prefixed(registry, image.tag_path), token=token)

    assert for_registry(f"Bearer {token}") == ""
    assert (told.status, told.body) == (200, image.manifest)


async def test_registry_that_is_down_needs_no_token(tmp_path: Path) -> None:
    async with FakeRegistry() as registry:
        pass
    async with a_host(tmp_path, "ann") as host, an_engine(host, "") as engine:
        told = await token_for(engine, registry)

    assert for_registry(f"Bearer {token_in(told)}") == ""


async def test_login_for_no_repository_is_told_to_nobody(tmp_path: Path) -> None:
    async with a_host(tmp_path, "ann") as host, an_engine(host, "") as engine:
        url = f"http://{engine._address}/v2/token?account=user&service=damselfly"
        async with engine._client.get(url, headers={"Authorization": BASIC}) as told:
            token = token_in(Told(told.status, told.headers, await told.read()))
        checked = await engine.ask("/v2/", token=token)

    assert for_registry(f"Bearer {token}") == ""
    assert checked.status == 200


async def test_realm_is_where_the_engine_reaches_the_mirror(tmp_path: Path) -> None:
    async with a_host(tmp_path, "ann") as host, an_engine(host, "") as engine:
        told = await engine.ask("/v2/")
        odd = await engine.ask("/v2/", Host='a",x="')

    realm = f'realm="http://{engine._address}/v2/token"'
    assert (told.status, realm in told.headers["WWW-Authenticate"]) == (401, True)
    assert 'x="' not in odd.headers.get("WWW-Authenticate", "")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("scope=repository:a.test/x:pull&scope=repository:b.test/x:pull", 400),
        ("scope=repository:a.test/../x:pull", 400),
        ("scope=%00", 400),
    ],
)
async def test_what_is_no_question_for_a_token_is_refused(
    tmp_path: Path, query: str, status: int
) -> None:
    async with a_host(tmp_path, "ann") as host, an_engine(host, "") as engine:
        url = f"http://{engine._address}/v2/token?{query}"
        async with engine._client.get(url) as told, engine._client.post(url) as posted:
            assert (told.status, posted.status) == (status, 405)
            assert json.loads(await told.read())["errors"][0]["code"]


async def test_realm_that_is_no_url_is_refused_and_not_followed(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        registry.add("/v2/", b"{}", accepted={"x"}, challenge='Bearer realm="file:///etc/passwd"')
        async with an_engine(host, "") as engine:
            told = await token_for(engine, registry, Authorization=BASIC)

    assert told.status == 400
    assert b"root:" not in told.body


def test_all_else_that_authorizes_goes_as_it_came() -> None:
    for given in ("Bearer ey.J9.x", "Basic dXNlcjpwYXNz", "Negotiate abc", ""):
        assert for_registry(given) == given
    assert for_registry("Bearer damselfly-basic-dXNlcjpwYXNz") == BASIC
