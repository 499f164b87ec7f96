"""The cache of a SuperNode by its API: who may look, who may change it, and what nobody may."""

import asyncio
import hashlib
from pathlib import Path

from damselfly.services.options import PreheatOptions
from damselfly.transport.local_client import LocalClient
from damselfly.wire.cache_messages import ImportOrder
from faces.api.asking import an_api
from fakes.source import random_bytes

DATA = random_bytes(300_000, seed=31)
CACHE = "/api/v1/cache"
RIGHT = {"Authorization": "Bearer of-the-operator"}


def with_token(folder: Path) -> PreheatOptions:
    (folder / "token").write_text("of-the-operator\n")
    return PreheatOptions(token_file=str(folder / "token"))


async def fill(folder: Path, url: str) -> None:
    """Put a content into the cache of the SuperNode that runs in a folder."""
    digest = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    order = ImportOrder(digest=digest, size_bytes=len(DATA), url=url)
    (folder / "file").write_bytes(DATA)
    with (folder / "file").open("rb") as file:
        client = LocalClient(str(folder / "supernode" / "supernode.sock"))
        await asyncio.to_thread(client.import_file, order, file)


async def test_with_the_token_entries_are_listed_pinned_verified_and_removed(
    tmp_path: Path,
) -> None:
    url = "http://models.invalid/f"
    async with an_api(tmp_path, preheat=with_token(tmp_path)) as api:
        await fill(tmp_path, url)

        async def order(action: str, *names: str) -> tuple[int, list[tuple[str, bool]]]:
            asked = {"action": action, "names": names}
            told = await api.ask("POST", CACHE, asked, **RIGHT)
            return told.status, [(each["url"], each["is_pinned"]) for each in told.body["tasks"]]

        assert await order("pin", url) == (200, [(url, True)])
        listed = (await api.ask("GET", CACHE, **RIGHT)).body
        assert [each["is_pinned"] for each in listed["tasks"]] == [True]
        assert listed["data"] == str(tmp_path / "supernode")
        assert await order("unpin", url) == (200, [(url, False)])
        assert await order("verify") == (200, [(url, False)])
        assert await order("rm", url) == (200, [(url, False)])
        assert (await api.ask("GET", CACHE, **RIGHT)).body["tasks"] == []


async def test_what_makes_no_sense_is_told_so(tmp_path: Path) -> None:
    async with an_api(tmp_path, preheat=with_token(tmp_path)) as api:
        for asked, status, error in (
            ({"action": "pin", "names": ["http://x.invalid/"]}, 404, "NotCachedError"),
            ({"action": "burn", "names": ["all"]}, 400, "UsageError"),
            ({"names": ["all"]}, 400, "RemoteProtocolError"),
        ):
            told = await api.ask("POST", CACHE, asked, **RIGHT)

            assert (told.status, told.body["error"]) == (status, error)


async def test_who_shows_no_token_neither_looks_nor_changes_anything(tmp_path: Path) -> None:
    async with an_api(tmp_path, preheat=with_token(tmp_path)) as api:
        verify = {"action": "verify"}
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert (await api.ask("GET", CACHE, **headers)).status == 401
            assert (await api.ask("POST", CACHE, verify, **headers)).status == 401


async def test_without_a_token_in_the_settings_this_host_may_only_look(tmp_path: Path) -> None:
    async with an_api(tmp_path) as api:
        looked = await api.ask("GET", CACHE)
        refused = await api.ask("POST", CACHE, {"action": "verify"})

        assert (looked.status, looked.body["tasks"]) == (200, [])
        assert refused.status == 401
        assert "set preheat.token_file, since without one nobody may" in refused.body["message"]


async def test_nothing_is_put_in_or_taken_out_from_elsewhere(tmp_path: Path) -> None:
    async with an_api(tmp_path, preheat=with_token(tmp_path)) as api:
        for method, path in (
            ("POST", f"{CACHE}/imports"),
            ("GET", f"{CACHE}/content?name=x"),
            ("POST", "/v1/cache/imports"),
            ("GET", "/v1/cache/content?name=x"),
        ):
            assert (await api.ask(method, path, **RIGHT)).status == 404
