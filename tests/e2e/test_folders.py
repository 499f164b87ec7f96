"""Many files as one: folders of servers, hubs and registries, whole or with what is missing."""

import asyncio
import base64
import hashlib
import shutil
import signal
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from damselfly.errors import RemoteProtocolError
from damselfly.faces.cli.folders.getting import Read, ThroughDaemon
from damselfly.transport.local_client import LocalClient
from damselfly.wire.local_messages import DownloadRequest
from e2e.processes import BIN, Site, dfget, run
from engines import images
from engines.registries import Registry
from fakes.hub import FakeHub
from fakes.source import FakeSource, random_bytes

pytestmark = pytest.mark.slow

FILES = {f"d{number % 3}/f{number:02}.bin": random_bytes(1000, seed=number) for number in range(40)}
BIG = {"big.bin": random_bytes(3_000_000, seed=99), "a b/odd.txt": b"odd"}


def add_folder(source: FakeSource, files: dict[str, bytes], **options: object) -> None:
    """Put files and their index pages, as nginx writes them, below `/top/`."""
    pages: dict[str, dict[str, int | None]] = {"": {}}
    for path, data in files.items():
        source.add(f"/top/{path}", data, **options)
        folder, _, name = path.rpartition("/")
        pages.setdefault(f"{folder}/" if folder else "", {})[name] = len(data)
        if folder:
            pages[""][f"{folder}/"] = None
    for folder, links in pages.items():
        lines = [
            f'<a href="{name.replace(" ", "%20")}">{name}</a>  25-Nov-2026 06:54   '
            f"{'-' if size is None else size}"
            for name, size in links.items()
        ]
        source.add(f"/top/{folder}", "\n".join(['<a href="../">../</a>', *lines]).encode())


def found_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_a_folder_reaches_two_hosts_and_each_file_is_read_once(site: Site) -> None:
    files = FILES | BIG
    async with FakeSource() as source:
        add_folder(source, files)
        supernode = await site.supernode()
        daemons = [await site.daemon(name, supernode.address) for name in ("ann", "bob")]

        ends = await asyncio.gather(  # noqa: TID251
            *(
                dfget(
                    "-r",
                    source.url("/top/"),
                    "--socket",
                    daemon.socket,
                    "-O",
                    site.path(f"out{number}"),
                )
                for number, daemon in enumerate(daemons)
            )
        )

        for number, ended in enumerate(ends):
            assert ended.code == 0, ended.err
            assert found_in(site.path(f"out{number}")) == files
            assert ended.json["files"] == len(files)
        for path in source.contents:  # index pages too
            assert source.count("GET", path) == 1, path
        assert not list(site.folder.glob(".out*"))


async def test_only_what_is_wanted_comes(site: Site) -> None:
    async with FakeSource() as source:
        add_folder(source, FILES | BIG)

        ended = await dfget(
            *("-r", source.url("/top/"), "--include", "*.bin", "--exclude", "d1/*"),
            *("--exclude", "big*", "-O", site.path("out")),
        )

        assert ended.code == 0, ended.err
        wanted = {path: data for path, data in FILES.items() if not path.startswith("d1/")}
        assert found_in(site.path("out")) == wanted
        assert source.count("GET", "/top/big.bin") == 0


async def test_what_is_missing_is_named_and_the_next_run_gets_that_alone(site: Site) -> None:
    async with FakeSource() as source:
        add_folder(source, FILES | BIG)
        refused = source.contents["/top/big.bin"]
        refused.status = 403

        first = await dfget("-r", source.url("/top/"), "-O", site.path("out"))
        refused.status = 200
        before = source.count("GET")
        second = await dfget("-r", source.url("/top/"), "-O", site.path("out"))

        assert first.code == 54
        assert "1 of 42 files are missing" in first.err
        assert (first.json["exit_code"], len(first.json["missing"])) == (54, 1)
        assert second.code == 0, second.err
        assert found_in(site.path("out")) == FILES | BIG
        assert second.json["skipped"] == 41
        asked = source.requests[-(source.count("GET") - before) :]
        assert {request.path for request in asked if "bin" in request.path} == {"/top/big.bin"}


async def test_a_file_that_is_longer_than_listed_still_comes(site: Site) -> None:
    async with FakeSource() as source:
        add_folder(source, FILES)
        grown = random_bytes(2000, seed=7)
        source.contents["/top/d0/f00.bin"].change(grown)

        ended = await dfget("-r", source.url("/top/"), "-O", site.path("out"))

        assert ended.code == 0, ended.err
        assert found_in(site.path("out")) == FILES | {"d0/f00.bin": grown}


@pytest.mark.parametrize("name", ["Content-MD5", "Digest"])
async def test_a_file_of_a_bundle_that_is_not_what_its_server_told_is_named_as_missing(
    site: Site, name: str
) -> None:
    broken = "d0/f00.bin"
    async with FakeSource() as source:
        add_folder(source, FILES)
        for path, data in FILES.items():
            raw = (hashlib.md5 if name == "Content-MD5" else hashlib.sha256)(data).digest()
            sum_told = base64.b64encode(raw).decode()
            told = {name: f"sha-256={sum_told}" if name == "Digest" else sum_told}
            source.contents[f"/top/{path}"].headers = told
        source.contents[f"/top/{broken}"].data = random_bytes(1000, seed=1000)
        supernode = await site.supernode()
        daemon = await site.daemon("ann", supernode.address)

        ended = await dfget(
            *("-r", source.url("/top/"), "--socket", daemon.socket, "-O", site.path("out"))
        )

        assert ended.code == 54
        assert "1 of 40 files are missing" in ended.err
        assert broken in ended.err
        expected = {path: data for path, data in FILES.items() if path != broken}
        assert found_in(site.path("out")) == expected


async def test_a_list_of_urls_is_fetched_under_their_names(site: Site) -> None:
    async with FakeSource() as source:
        source.add("/x/a.bin", b"a")
        source.add("/y/a.bin", b"b")
        listed = site.path("list")
        lines = [source.url("/x/a.bin"), f"{source.url('/y/a.bin')} deep/b.bin", "# nothing", ""]
        listed.write_text("\n".join(lines))

        ended = await dfget("--from-file", listed, "-O", site.path("out"))
        listed.write_text(source.url("/x/a.bin") + "\n" + source.url("/y/a.bin"))
        twice = await dfget("--from-file", listed, "-O", site.path("out"))

        assert ended.code == 0, ended.err
        assert found_in(site.path("out")) == {"a.bin": b"a", "deep/b.bin": b"b"}
        assert (twice.code, "line 2" in twice.err) == (2, True)


async def test_a_repository_of_a_hub_comes_with_a_requesters_token(site: Site) -> None:
    async with FakeHub(token="hub-token") as hub:
        hub.files["org/Name"] = FILES | BIG
        config = site.path("settings.toml")
        config.write_text(f'[supernode.source]\nhub_endpoint = "{hub.url}"\n')
        supernode = await site.supernode("--config", str(config))
        daemon = await site.daemon("ann", supernode.address)
        command = ("-r", "hf://org/Name", "--socket", daemon.socket, "--no-source")

        ended = await dfget(
            *command, "--header", "Authorization: Bearer hub-token", "-O", site.path("out")
        )
        stranger = await dfget(*command, "-O", site.path("other"))

        assert ended.code == 0, ended.err
        assert found_in(site.path("out")) == FILES | BIG
        assert stranger.code == 12, stranger.err
        gets = [path for method, path in hub.requests if method == "GET" and "resolve" in path]
        assert len(gets) == len(set(gets)) == len(FILES | BIG)


async def test_an_image_becomes_an_oci_layout(site: Site) -> None:
    registry = Registry(site.path("registry"), site.path("blobs"))
    image = images.image(images.layer(300_000, "one"))
    pusher = images.Pusher(registry.url)
    pusher.push("lib/one", ["v1"], image)
    pusher.close()

    ended = await dfget(f"oci://{registry.host}/lib/one:v1", "-O", site.path("out"))

    assert ended.code == 0, ended.err
    found = found_in(site.path("out"))
    blobs = {f"blobs/{each.digest.replace(':', '/')}": each.data for each in image.blobs}
    assert {path: found.get(path) for path in blobs} == blobs
    assert image.digest.encode() in found["index.json"]
    registry.stop()


async def test_a_listing_that_leads_out_of_its_folder_is_refused(site: Site) -> None:
    async with FakeHub() as hub:
        hub.files["org/Name"] = {"../evil": b"x", "good": b"y"}
        config = site.path("settings.toml")
        config.write_text(f'[supernode.source]\nhub_endpoint = "{hub.url}"\n')
        supernode = await site.supernode("--config", str(config))
        daemon = await site.daemon("ann", supernode.address)

        ended = await dfget(
            "-r", "hf://org/Name", "--socket", daemon.socket, "-O", site.path("out")
        )

        assert ended.code == 70
        assert "path that cannot be" in ended.err
        assert not site.path("evil").exists()


async def test_files_are_written_while_later_ones_are_still_read(site: Site) -> None:
    files = {f"f{number:02}.bin": random_bytes(100_000, seed=number) for number in range(40)}
    async with FakeSource() as source:
        add_folder(source, files)
        last = source.contents["/top/f39.bin"]
        last.is_stalled_at_head = True
        supernode = await site.supernode()
        daemon = await site.daemon("ann", supernode.address)

        running = asyncio.ensure_future(
            dfget("-r", source.url("/top/"), "--socket", daemon.socket, "-O", site.path("out"))
        )
        async with asyncio.timeout(60):
            while not (site.path("out") / "f00.bin").exists():
                await asyncio.sleep(0.05)
        grown = random_bytes(120_000, seed=77)
        last.change(grown)
        last.release()
        ended = await running

        assert ended.code == 0, ended.err
        assert found_in(site.path("out")) == files | {"f39.bin": grown}


async def test_what_ends_early_at_its_reader_is_held_by_nobody(site: Site) -> None:
    daemon = await site.daemon("ann", (await site.supernode()).address)
    client = LocalClient(daemon.socket)

    def fail(read: Read) -> None:
        read(1)
        raise RemoteProtocolError("a bundle that ends early")

    async with FakeSource() as source:
        source.add("/f", BIG["big.bin"])
        request = DownloadRequest(url=source.url("/f"))
        read = partial(ThroughDaemon(client).read, spare_path=str(site.path("spare")))
        with pytest.raises(RemoteProtocolError, match="ends early"):
            await asyncio.to_thread(read, request, lambda _: None, fail)

        async with asyncio.timeout(20):  # the daemon hears later that the reader has gone
            while any(task.is_in_use for task in (await asyncio.to_thread(client.cache)).tasks):
                await asyncio.sleep(0.05)


async def test_a_compressed_bundle_is_laid_in_plain_for_nobody(site: Site) -> None:
    files = {f"f{number:02}.txt": b"%d: a line\n" % number * 5000 for number in range(40)}
    settings = site.path("supernode.toml")
    settings.write_text('[supernode.compression]\nmode = "on"\n')
    async with FakeSource() as source:
        add_folder(source, files)
        supernode = await site.supernode("--config", str(settings))
        daemon = await site.daemon("ann", supernode.address)

        ended = await dfget(
            "-r", source.url("/top/"), "--socket", daemon.socket, "-O", site.path("out")
        )

    assert ended.code == 0, ended.err
    assert found_in(site.path("out")) == files
    used = sum(path.stat().st_size for path in site.path("ann").rglob("*") if path.is_file())
    assert used < sum(map(len, files.values())) // 2  # it is there, compressed
    assert list(site.path("ann").rglob("plain")) == []


async def test_ctrl_c_waits_for_nothing(site: Site) -> None:
    files = {f"f{number}.bin": random_bytes(2_000_000, seed=number) for number in range(3)}
    supernode = await site.supernode()
    daemon = await site.daemon("ann", supernode.address)
    for way in (("--socket", daemon.socket), ("--supernode", supernode.address)):
        async with FakeSource() as source:
            add_folder(source, files, stall_after_bytes=1_500_000)
            process = await asyncio.create_subprocess_exec(
                str(BIN / "dfget"), "-r", source.url("/top/"), *way, "-O", str(site.path("out"))
            )
            async with asyncio.timeout(20):
                await source.contents["/top/f2.bin"].has_stalled.wait()

            process.send_signal(signal.SIGINT)
            try:
                async with asyncio.timeout(10):
                    assert await process.wait() == 130
            finally:
                if process.returncode is None:
                    process.kill()


async def test_names_as_long_as_a_file_system_has_them(site: Site) -> None:
    files = {"M" * 255: b"small", "N" * 251 + ".bin": BIG["big.bin"]}
    out = site.path("Q" * 255)
    async with FakeSource() as source:
        add_folder(source, files)
        supernode = await site.supernode()
        daemon = await site.daemon("ann", supernode.address)
        for way in (("--socket", daemon.socket), ("--supernode", supernode.address)):
            ended = await dfget("-r", source.url("/top/"), *way, "-O", out)

            assert ended.code == 0, ended.err
            assert found_in(out) == files
            shutil.rmtree(out)

        for name in files:
            ended = await dfget(
                source.url(f"/top/{name}"), "--supernode", supernode.address, "-O", site.folder
            )
            assert ended.code == 0, ended.err
        assert not list(site.folder.glob(".*"))


async def test_a_folder_is_filled_where_nothing_can_be_written_beside_it(site: Site) -> None:
    above, out = site.path("above"), site.path("above") / "out"
    above.mkdir()
    async with FakeSource() as source:
        add_folder(source, BIG)
        supernode = await site.supernode()
        daemon = await site.daemon("ann", supernode.address)
        for way in (f"--socket {daemon.socket}", f"--supernode {supernode.address}"):
            script = (
                f"mount -t tmpfs none {above} && mkdir {out} && mount -t tmpfs none {out} && "
                f"mount -o remount,ro {above} && "
                f"{BIN}/dfget -q -r {source.url('/top/')} {way} -O {out} && find {out} -type f"
            )
            ended = await run("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script)

            assert ended.code == 0, ended.err
            assert {*ended.out.splitlines()} == {str(out / path) for path in BIG}


async def test_a_rate_is_that_of_all_files_together(site: Site) -> None:
    files = {f"f{number}.bin": random_bytes(1_200_000, seed=number) for number in range(6)}
    async with FakeSource() as source:
        add_folder(source, files)
        ended = await dfget(
            "-r", source.url("/top/"), "--rate-limit", "3MiB", "-O", site.path("out")
        )

    assert ended.code == 0, ended.err
    assert ended.json["seconds"] > 1.5


async def test_a_limit_in_time_is_that_of_all_files_together(site: Site) -> None:
    files = {f"f{number:02}.bin": random_bytes(1_100_000, seed=number) for number in range(20)}
    async with FakeSource() as source:
        add_folder(source, files, is_stalled_at_head=True)
        supernode = await site.supernode()
        daemon = await site.daemon("ann", supernode.address)
        ended = await dfget(
            *("-r", source.url("/top/"), "--socket", daemon.socket, "--timeout", "3s"),
            *("-O", site.path("out")),
        )
        asked = {request.path for request in source.requests if "bin" in request.path}

    assert ended.code == 54, ended.err
    told = {each["message"] for each in ended.json["missing"]}
    assert told == {"not finished after 3 s; run the same command again to resume"}
    assert len(asked) <= 8


async def test_a_page_with_links_that_nobody_should_write(site: Site) -> None:
    page = """
        <a href="/top/absolute">x</a> <a href="ra w.txt">x</a> <a href="grün">x</a>
        <a href="http://[bad/">x</a> <a href="//elsewhere.example/x">x</a> <a href="">x</a>
        <a href="/">x</a> <a href="../">x</a> <a href="?C=N">x</a> <a href="%2e%2e/up">x</a>
        <a href="sub/../again">x</a> <a href="again#part">x</a> <a href="javascript:void">x</a>
    """
    names = ("absolute", "ra w.txt", "grün", "again")
    async with FakeSource() as source:
        source.add("/a/../top/", page.encode())  # which servers resolve
        for name in names:
            source.add(f"/top/{name}", name.encode())

        ended = await dfget("-r", source.url("/a/../t%6Fp/"), "-O", site.path("out"))

    assert ended.code == 0, ended.err
    assert found_in(site.path("out")) == {name: name.encode() for name in names}


async def test_a_list_as_other_systems_write_it(site: Site) -> None:
    async with FakeSource() as source:
        source.add("/a.bin", b"a")
        listed = site.path("list")
        listed.write_bytes(f"\ufeff  {source.url('/a.bin')}\tb c.bin \r\n\r\n".encode())
        ended = await dfget("--from-file", listed, "-O", site.path("out"))
        listed.write_text(f"{source.url('/a.bin')}\na.bin\n")
        wrong = await dfget("--from-file", listed, "-O", site.path("out"))
        digest = f"sha256:{hashlib.sha256(b'a').hexdigest()}"
        of_one = await dfget("--from-file", listed, "--digest", digest, "-O", site.path("out"))

    assert ended.code == 0, ended.err
    assert found_in(site.path("out")) == {"b c.bin": b"a"}
    assert (wrong.code, "line 2 of the list: URL 'a.bin'" in wrong.err) == (2, True)
    assert (of_one.code, "--digest is of one file" in of_one.err) == (2, True)


async def test_files_come_one_by_one_where_there_is_no_room_for_all_at_once(site: Site) -> None:
    files = {f"f{number:02}.bin": random_bytes(100_000, seed=number) for number in range(40)}
    async with FakeSource() as source:
        add_folder(source, files)
        supernode = await site.supernode()
        daemon = await site.daemon("ann", supernode.address, "--quota", "2MiB")
        ended = await dfget(
            "-r", source.url("/top/"), "--socket", daemon.socket, "-O", site.path("out")
        )

    assert ended.code == 0, ended.err
    assert found_in(site.path("out")) == files


async def test_nothing_is_made_where_a_link_in_the_folder_leads(site: Site) -> None:
    for name in ("out", "elsewhere"):
        site.path(name).mkdir()
    (site.path("out") / "top").symlink_to(site.path("elsewhere"))
    async with FakeSource() as source:
        source.add("/f", b"x")
        listed = site.path("list")
        listed.write_text(f"{source.url('/f')} top/deep/f")
        ended = await dfget("--from-file", listed, "-O", site.path("out"))

    assert (ended.code, "a link leads out" in ended.err) == (54, True)
    assert list(site.path("elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    "limit", [("--timeout", "99999999999999d"), ("--rate-limit", "9" * 400 + "MiB")]
)
async def test_limits_beyond_all_clocks_and_files_are_refused(limit: tuple[str, str]) -> None:
    ended = await dfget("http://127.0.0.1:1/f", *limit)

    assert (ended.code, "more than can be counted" in ended.err) == (2, True)


async def test_names_of_a_server_do_nothing_to_a_terminal(site: Site) -> None:
    name = "a\x1b[31mred\x9b"
    (site.path("out") / name).mkdir(parents=True)
    async with FakeSource() as source:
        add_folder(source, {name: b"x", "good": b"y"})
        program, out = str(BIN / "dfget"), str(site.path("out"))
        folder = await run(program, "-r", source.url("/top/"), "-O", out)
        url = source.url(f"/top/{quote(name)}")
        one = await run(program, url, "-O", str(site.folder))

    assert (folder.code, one.code) == (54, 0), one.err
    for text in (folder.err, one.err):
        assert r"a\x1b[31mred\x9b" in text
        assert text.replace("\n", "").isprintable()
