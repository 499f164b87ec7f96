"""`damselfly cache` as an operator meets it: with processes that run, and on a folder at rest."""

import asyncio
import hashlib
import os
import random
import shutil
from pathlib import Path

import pytest

from e2e.processes import BIN, Ended, Site, dfget, run
from fakes.source import FakeSource

pytestmark = pytest.mark.slow

DATA = random.Random(21).randbytes(3 << 20)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


async def cache(*arguments: str) -> Ended:
    return await run(str(BIN / "damselfly"), "cache", *arguments)


def spoil(folder: Path) -> None:
    """Turn a bit around, and set the time stamp back, as a disk does."""
    (content,) = (folder / "editions").glob("*/*/*/content")
    times = content.stat()
    with content.open("r+b") as file:
        file.seek(1_500_000)
        byte = file.read(1)[0]
        file.seek(1_500_000)
        file.write(bytes([byte ^ 1]))
    os.utime(content, ns=(times.st_atime_ns, times.st_mtime_ns))


async def test_a_file_imported_at_one_host_is_everybodys_without_any_source(site: Site) -> None:
    supernode = await site.supernode()
    first = await site.daemon("first", supernode.address)
    second = await site.daemon("second", supernode.address)
    file = site.path("model.bin")
    file.write_bytes(DATA)
    where = ("--data", str(site.path("supernode")))

    imported = await cache("import", str(file), "--socket", first.socket)
    assert imported.code == 0, imported.err
    url = imported.out.split("dfget ")[1].split()[0]
    await until_listed(("ls", *where))  # the SuperNode takes it over
    got = await dfget(
        url, "--digest", DIGEST, "-O", str(site.path("out")), "--socket", second.socket, "--json"
    )

    assert got.code == 0, got.err
    assert site.path("out").read_bytes() == DATA
    assert got.json["bytes_by"]["source"] == 0


async def test_a_url_import_at_the_supernode_answers_for_that_url(site: Site) -> None:
    supernode = await site.supernode()
    daemon = await site.daemon("host", supernode.address)
    file = site.path("a.bin")
    file.write_bytes(DATA)
    url = "http://models.invalid/a.bin"
    call = ("import", str(file), "--url", url, "--tag", "v1")

    imported = await cache(*call, "--data", str(site.path("supernode")))
    got = await dfget(url, "--tag", "v1", "-O", str(site.path("out")), "--socket", daemon.socket)
    other = await dfget(url, "-O", str(site.path("other")), "--socket", daemon.socket)

    assert imported.code == 0, imported.err
    assert got.code == 0, got.err
    assert site.path("out").read_bytes() == DATA
    assert other.code != 0  # without the tag it is another task, and nobody has that


async def test_a_url_import_at_a_host_is_not_believed_by_the_supernode(site: Site) -> None:
    supernode = await site.supernode()
    first = await site.daemon("first", supernode.address)
    file = site.path("a.bin")
    file.write_bytes(DATA)

    named = ("--url", "http://bank.invalid/a")
    ended = await cache("import", str(file), *named, "--socket", first.socket)
    async with asyncio.timeout(20):
        while "import_refused" not in supernode.log.read_text():
            await asyncio.sleep(0.05)

    assert 'host_imports = "all"' in ended.out
    assert "0 editions" in (await cache("ls", "--data", str(site.path("supernode")))).out


async def test_what_a_host_imported_by_url_and_tag_is_told_to_a_supernode_that_lost_all(
    site: Site,
) -> None:
    config = site.path("all.toml")
    config.write_text('[supernode]\nhost_imports = "all"\n')
    before = await site.supernode("--config", str(config))
    first = await site.daemon("first", before.address)
    file = site.path("a.bin")
    file.write_bytes(DATA)
    url = "http://models.invalid/a.bin"
    named = ("--url", f"{url}?v=2&X-Amz-Signature=hidden-word", "--tag", "v1")
    there = ("ls", "--data", str(site.path("supernode")))

    await cache("import", str(file), *named, "--socket", first.socket)
    await until_listed(there)
    await before.stop()
    shutil.rmtree(site.path("supernode"))
    await site.supernode("--config", str(config), listen=before.address)
    await until_listed(there)
    second = await site.daemon("second", before.address)
    got = await dfget(
        *(f"{url}?v=2", "--tag", "v1", "-O", str(site.path("out"))),
        *("--socket", second.socket, "--json"),
    )

    assert got.code == 0, got.err
    assert site.path("out").read_bytes() == DATA
    assert got.json["bytes_by"]["source"] == 0
    for kept in (site.path("first") / "catalog", *site.path("first").rglob("edition.json")):
        assert b"hidden-word" not in kept.read_bytes()


async def until_listed(command: tuple[str, ...]) -> None:
    """Wait until a cache has something that was imported."""
    async with asyncio.timeout(30):
        while "[imported" not in (await cache(*command)).out:  # its folder has the test's name
            await asyncio.sleep(0.1)


async def test_entries_are_listed_pinned_removed_verified_and_exported(site: Site) -> None:
    async with FakeSource() as source:
        source.add("/f", DATA)
        url = source.url("/f")
        supernode = await site.supernode()
        daemon = await site.daemon("host", supernode.address)
        here = ("--socket", daemon.socket)
        copied = await dfget(url, "-O", str(site.path("out")), *here)
        assert copied.code == 0, copied.err

        assert url in (await cache("ls", *here)).out
        assert "pinned" in (await cache("pin", url, *here)).out
        assert "[pinned]" in (await cache("ls", *here)).out
        assert (await cache("unpin", url, *here)).code == 0
        assert (await cache("verify", *here)).out == "1 read, 0 damaged\n"
        spoil(site.path("supernode"))
        verified = await cache("verify", "--data", str(site.path("supernode")))
        assert verified.code == 1
        assert "1 damaged" in verified.out
        again = ""
        for _ in range(100):  # the host has it: it comes from there
            again = (await cache("verify", "--data", str(site.path("supernode")))).out
            if "1 read, 0 damaged" in again:
                break
        assert "1 read, 0 damaged" in again
        assert [each.method for each in source.requests].count("GET") == 1
        exported = await cache("export", url, str(site.path("copy")), *here)
        assert exported.code == 0, exported.err
        assert site.path("copy").read_bytes() == DATA
        assert "removed" in (await cache("rm", url, *here)).out
        assert "0 editions" in (await cache("ls", *here)).out


async def test_a_supernode_elsewhere_is_asked_by_its_address_and_token(site: Site) -> None:
    site.path("token").write_text("of-the-operator\n")
    site.path("c.toml").write_text(f'[supernode.preheat]\ntoken_file = "{site.path("token")}"\n')
    supernode = await site.supernode("--config", str(site.path("c.toml")))
    file = site.path("a.bin")
    file.write_bytes(DATA)
    imported = await cache("import", str(file), "--data", str(site.path("supernode")))
    assert imported.code == 0, imported.err
    there = ("--supernode", supernode.address)
    shown = (*there, "--token-file", str(site.path("token")))

    assert "pinned" in (await cache("pin", DIGEST, *shown)).out
    listed = await cache("ls", "--json", *shown)
    assert [each["is_pinned"] for each in listed.json["tasks"]] == [True]
    assert (await cache("unpin", DIGEST, *shown)).code == 0
    assert (await cache("verify", *shown)).out == "1 read, 0 damaged\n"
    for arguments, code, words in [
        (("ls", *there), 4, "preheat.token_file"),
        (("rm", DIGEST, *there), 4, "preheat.token_file"),
        (("rm", "nothing", *shown), 7, "is not cached"),
        (("import", str(file), *there), 2, "on its own host"),
        (("export", DIGEST, str(site.path("o")), *there), 2, "on its own host"),
    ]:
        ended = await cache(*arguments)
        assert (ended.code, words in ended.err) == (code, True), (arguments, ended)
    assert "removed" in (await cache("rm", DIGEST, *shown)).out
    assert "0 editions" in (await cache("ls", *shown)).out


async def test_a_folder_at_rest_can_be_looked_at_and_changed(site: Site) -> None:
    file = site.path("a.bin")
    file.write_bytes(DATA)
    both = site.path("cache")  # as `damselfly up` has it
    folder = both / "daemon"
    folder.mkdir(mode=0o700, parents=True)
    here = ("--data", str(both))

    imported = await cache("import", str(file), *here)
    assert imported.code == 0, imported.err
    assert "imported" in (listed := (await cache("ls", *here)).out)
    assert f"1 edition, 3.0 MiB in {folder}" in listed
    assert (await cache("export", DIGEST, str(site.path("copy")), *here)).code == 0
    assert site.path("copy").read_bytes() == DATA
    spoil(folder)
    assert "1 damaged" in (await cache("verify", *here)).out
    gone = await cache("export", DIGEST, str(site.path("copy2")), *here)
    assert gone.code == 7
    assert "in parts only" in gone.err


async def test_bad_input_gets_one_clear_sentence(site: Site) -> None:
    daemon = await site.daemon("host", "127.0.0.1:1")
    here = ("--socket", daemon.socket)
    file = site.path("a.bin")
    file.write_bytes(DATA)
    wrong = f"sha256:{'0' * 64}"
    os.mkfifo(site.path("pipe"))
    expected = [
        (("pin", "http://x.invalid/", *here), 7, "is not cached"),
        (("rm", "nothing", *here), 7, "is not cached"),
        (("import", "/no/such/file", *here), 2, "cannot read"),
        (("import", "/dev/zero", *here), 2, "it is no file"),
        (("import", str(site.path("pipe")), *here), 2, "it is no file"),
        (("import", str(site.folder), *here), 2, "it is no file"),
        (("import", str(file), "--digest", "sha256:12", *here), 2, "hexadecimal digits"),
        (("import", str(file), "--digest", wrong, *here), 50, "nothing was handed out"),
        (("import", str(file), "--url", "nonsense", *here), 2, "URL"),
        (("import", str(file), "--url", "http://a/", "--digest", DIGEST, *here), 2, "choose one"),
        (("export", "http://x.invalid/", str(site.path("o")), *here), 7, "is not cached"),
        (("export", "http://x.invalid/", str(site.folder), *here), 3, "name a file"),
        (("ls", "--socket", str(site.path("no.sock"))), 33, "daemon"),
        (("ls", "--supernode", "here", "--socket", str(site.path("no.sock"))), 31, "SuperNode"),
        (("ls", "--data", str(site.path("nowhere"))), 43, "no such folder"),
        (("ls", "--supernode", "127.0.0.1:1"), 31, "127.0.0.1:1"),
        (("pin", "--supernode", "http://x.invalid/", "x"), 2, "no HOST:PORT"),
        (("ls", "--supernode", "127.0.0.1:1", *here), 2, "another cache"),
    ]

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(cache(*arguments)) for arguments, _, _ in expected]

    for (arguments, code, words), call in zip(expected, running, strict=True):
        ended = call.result()
        assert (ended.code, words in ended.err) == (code, True), (arguments, ended)
        assert len(ended.err.strip().splitlines()) == 1
