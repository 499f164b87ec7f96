"""Guards preheats of contents that are encrypted: by the SuperNode's rules, or by a host's own."""

from pathlib import Path
from typing import Any

import pytest

from damselfly.core.proxying.encrypting import EncryptRule
from damselfly.services.encrypting.key_file import add_key
from damselfly.services.options import EncryptionOptions
from damselfly.wire.local_messages import DownloadRequest
from faces.api.asking import an_api, states
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host

DATA = random_bytes(600_000, seed=4)
SECRET = (EncryptRule(path="/secret/**"),)
TOKEN = "Bearer of-alice"
ASKED: dict[str, Any] = {"headers": [f"Authorization: {TOKEN}"], "target": "hosts:h-ann"}
WARM = {"supernode": "success", "h-ann": "success"}


@pytest.fixture
def encryption(tmp_path: Path) -> EncryptionOptions:
    path = tmp_path / "keys.toml"
    add_key(str(path), "k1")
    return EncryptionOptions(keys=str(path))


def a_request(url: str) -> DownloadRequest:
    return DownloadRequest(url=url, headers=(f"Authorization: {TOKEN}",))


def lying_in_plain(folder: Path) -> list[str]:
    """Return the files of a cache in which the content can be read."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if DATA[300_000:300_100] in path.read_bytes()]


async def test_rule_of_the_supernode_holds_for_a_host_that_has_none(
    tmp_path: Path, encryption: EncryptionOptions
) -> None:
    async with (
        FakeSource() as source,
        an_api(tmp_path, encryption=encryption, encrypt=SECRET) as api,
        a_host(tmp_path, "ann", api.address) as ann,
    ):
        source.add("/secret/f", DATA, accepted={TOKEN})
        url = source.url("/secret/f")
        await api.sees("h-ann")
        job = await api.ended((await api.preheat(urls=[url], **ASKED))["id"])
        async with ann.downloads.read(a_request(url)) as content:
            read = await content.read_all(bytes_max=len(DATA))

        assert (job["error"], states(job)) == ("", {url: WARM})
        assert read == DATA
        assert source.count("GET", "/secret/f") == 1
    assert lying_in_plain(tmp_path) == []


async def test_host_whose_own_rules_encrypt_is_warmed_as_it_will_ask(
    tmp_path: Path, encryption: EncryptionOptions
) -> None:
    async with (
        FakeSource() as source,
        an_api(tmp_path, encryption=encryption) as api,
        a_host(tmp_path, "ann", api.address, encrypt=SECRET) as ann,
    ):
        source.add("/secret/f", DATA, accepted={TOKEN})
        url = source.url("/secret/f")
        await api.sees("h-ann")
        job = await api.ended((await api.preheat(urls=[url], **ASKED))["id"])

        assert (job["error"], states(job)) == ("", {url: WARM})
        # Once as the SuperNode has it, and once as this host alone wants it, with the same rights.
        assert source.count("GET", "/secret/f") == 2
        assert lying_in_plain(tmp_path / "ann") == []
        async with ann.downloads.read(a_request(url)) as content:
            assert await content.read_all(bytes_max=len(DATA)) == DATA
        assert source.count("GET", "/secret/f") == 2


async def test_host_that_wants_it_encrypted_where_there_are_no_keys_has_nothing(
    tmp_path: Path,
) -> None:
    async with (
        FakeSource() as source,
        an_api(tmp_path) as api,
        a_host(tmp_path, "ann", api.address, encrypt=SECRET),
    ):
        source.add("/secret/f", DATA, accepted={TOKEN})
        url = source.url("/secret/f")
        await api.sees("h-ann")
        job = await api.ended((await api.preheat(urls=[url], **ASKED))["id"])

    assert states(job) == {url: {"supernode": "success", "h-ann": "failure"}}
    assert job["state"] == "failure"
    assert "not warm at h-ann: a key to encrypt with cannot be had" in job["error"]
    assert lying_in_plain(tmp_path / "ann") == []


async def test_what_is_read_for_a_warm_host_alone_keeps_to_the_limit_of_its_job(
    tmp_path: Path, encryption: EncryptionOptions
) -> None:
    async with (
        FakeSource() as source,
        an_api(tmp_path, encryption=encryption) as api,
        a_host(tmp_path, "ann", api.address, encrypt=SECRET),
    ):
        source.add("/secret/f", DATA, accepted={TOKEN})
        # Half a second for each of the two readings, and the burst that a limit allows.
        asked = {**ASKED, "rate": len(DATA) / 0.5}
        url = source.url("/secret/f")
        await api.sees("h-ann")
        job = await api.ended((await api.preheat(urls=[url], **asked))["id"])

    assert states(job) == {url: WARM}
    assert job["finished"] - job["started"] > 0.8
