"""Guards encrypted contents in a swarm: what lies where, and that a failing plug-in stays alone."""

import sys
from pathlib import Path

import pytest

from damselfly.core.downloading import last_resort
from damselfly.core.proxying.encrypting import EncryptRule
from damselfly.errors import KeyUnavailableError, PluginError
from damselfly.services.encrypting.key_file import add_key
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.options import EncryptionOptions
from damselfly.services.plugins import CALL_S
from damselfly.services.supernode import supernode as supernode_module
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host, a_supernode
from services.plugin_packages import OnPath, a_cipher

DATA = random_bytes(600_000, seed=4)
SECRET = (EncryptRule(path="/secret/**"),)


@pytest.fixture
def encryption(tmp_path: Path) -> EncryptionOptions:
    path = tmp_path / "keys.toml"
    add_key(str(path), "k1")
    return EncryptionOptions(keys=str(path))


async def get(host: PeerHost, url: str) -> None:
    """Download, and compare what comes with the content."""
    async with host.downloads.read(DownloadRequest(url=url)) as content:
        assert await content.read_all(bytes_max=1 << 20) == DATA


def lying_in_plain(folder: Path) -> list[str]:
    """Return the files of a cache in which the content can be read."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if DATA[300_000:300_100] in path.read_bytes()]


async def test_a_rule_that_comes_later_leaves_nothing_in_plain(
    tmp_path: Path, encryption: EncryptionOptions
) -> None:
    async with FakeSource() as source:
        source.add("/secret/f", DATA)
        async with a_supernode(tmp_path) as address, a_host(tmp_path, "ann", address) as ann:
            await get(ann, source.url("/secret/f"))
        assert lying_in_plain(tmp_path / "ann")
        assert lying_in_plain(tmp_path / "supernode")

        async with (
            a_supernode(tmp_path, encryption=encryption, encrypt=SECRET) as address,
            a_host(tmp_path, "ann", address) as ann,
        ):
            await get(ann, source.url("/secret/f"))
            await get(ann, source.url("/secret/f"))

    assert lying_in_plain(tmp_path) == []


async def test_a_rule_that_is_gone_leaves_what_is_encrypted_readable(
    tmp_path: Path, encryption: EncryptionOptions
) -> None:
    async with FakeSource() as source:
        source.add("/secret/f", DATA)
        for encrypt in (SECRET, ()):
            async with (
                a_supernode(tmp_path, encryption=encryption, encrypt=encrypt) as address,
                a_host(tmp_path, "ann", address) as ann,
            ):
                await get(ann, source.url("/secret/f"))

        assert source.count() == 1
    assert lying_in_plain(tmp_path) == []


async def test_a_host_that_wishes_it_gets_nothing_in_plain_from_anybody(tmp_path: Path) -> None:
    async with FakeSource() as source, a_supernode(tmp_path) as address:
        source.add("/secret/f", DATA)
        for name, supernode in (("ann", address), ("bob", "")):
            async with a_host(tmp_path, name, supernode, encrypt=SECRET) as host:
                with pytest.raises(KeyUnavailableError, match="key to encrypt with cannot be had"):
                    await get(host, source.url("/secret/f"))

        assert source.count() == 0
    assert lying_in_plain(tmp_path) == []


async def test_who_holds_all_blocks_and_lacks_the_key_alone_is_told_it(
    tmp_path: Path, encryption: EncryptionOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The SuperNode stops feeding what nobody lacks at its next tick: before any message comes.
    monkeypatch.setattr(supernode_module, "TICK_S", 0.0)
    async with (
        FakeSource() as source,
        a_supernode(tmp_path, encryption=encryption, encrypt=SECRET) as address,
    ):
        source.add("/secret/f", DATA)
        for _ in range(2):  # the second one is started anew, and has no key
            async with a_host(tmp_path, "ann", address) as ann:
                await get(ann, source.url("/secret/f"))

        assert source.count() == 1


async def test_a_host_reads_on_from_the_source_and_seals_what_it_gets(
    tmp_path: Path, encryption: EncryptionOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_resort, "LOST_S", 0.2)
    async with FakeSource() as source:
        content = source.add("/secret/f", DATA, rate_bytes_per_s=400_000)
        async with a_host(tmp_path, "ann", "127.0.0.1:1") as ann:
            # A host that heard of no rule, and has no SuperNode: in plain, as the document says.
            await get(ann, source.url("/secret/f"))
        assert lying_in_plain(tmp_path / "ann")
        content.rate_bytes_per_s = 0
        async with (
            a_supernode(tmp_path, encryption=encryption, encrypt=SECRET) as address,
            a_host(tmp_path, "ann", address) as ann,
        ):
            await get(ann, source.url("/secret/f"))
    assert lying_in_plain(tmp_path) == []


# --- plug-ins


@pytest.mark.parametrize(
    ("seal", "said", "call_s"),
    [
        ("raise ValueError('no licence')", "cipher faulty failed: ValueError: no licence", CALL_S),
        ("time.sleep(60)", r"cipher faulty did not answer within 0\.5 s", 0.5),
    ],
)
async def test_a_cipher_that_fails_ends_its_content_and_no_other(
    tmp_path: Path, on_path: OnPath, seal: str, said: str, call_s: float
) -> None:
    on_path(a_cipher(tmp_path / "plugins", "faulty", seal=seal))
    add_key(str(tmp_path / "keys.toml"), "k1")
    encryption = EncryptionOptions(
        keys=str(tmp_path / "keys.toml"), cipher="faulty", call_timeout_s=call_s
    )
    async with (
        FakeSource() as source,
        a_supernode(tmp_path, encryption=encryption, encrypt=SECRET) as address,
        a_host(tmp_path, "ann", address) as ann,
    ):
        source.add("/secret/f", DATA)
        source.add("/public/f", DATA)
        with pytest.raises(PluginError, match=said):
            await get(ann, source.url("/secret/f"))
        assert lying_in_plain(tmp_path) == []
        await get(ann, source.url("/public/f"))


async def test_a_cipher_that_fails_at_one_host_is_no_fault_of_the_others(
    tmp_path: Path, on_path: OnPath
) -> None:
    opening = "if Plugin.is_broken: raise OSError('device is gone')"
    path = a_cipher(tmp_path / "plugins", "fragile", cipher_id=202, opening=opening)
    module = path / "fragile_plugin.py"
    module.write_text(module.read_text() + "\n    is_broken = False\n")
    on_path(path)
    add_key(str(tmp_path / "keys.toml"), "k1")
    encryption = EncryptionOptions(keys=str(tmp_path / "keys.toml"), cipher="fragile")
    async with (
        FakeSource() as source,
        a_supernode(tmp_path, encryption=encryption, encrypt=SECRET) as address,
        a_host(tmp_path, "ann", address) as ann,
        a_host(tmp_path, "bob", address) as bob,
    ):
        source.add("/secret/f", DATA)
        await get(ann, source.url("/secret/f"))
        sys.modules["fragile_plugin"].Plugin.is_broken = True
        with pytest.raises(PluginError, match="cipher fragile failed: OSError: device is gone"):
            await get(bob, source.url("/secret/f"))
        sys.modules["fragile_plugin"].Plugin.is_broken = False
        await get(bob, source.url("/secret/f"))

        banned = ann.metrics.blocks_fetched.labels("corrupt")._value.get()
        assert banned + bob.metrics.blocks_fetched.labels("corrupt")._value.get() == 0
    assert lying_in_plain(tmp_path) == []
