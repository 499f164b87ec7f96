"""Bad input and bad luck, with real processes: one clear sentence, nothing lost, nothing wrong."""

import asyncio
import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from e2e.processes import Running, Site, damselfly, dfget, has_blocks
from fakes.source import FakeSource

pytestmark = pytest.mark.slow

MIB = 1 << 20


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
async def daemon(site: Site) -> Running:
    config = site.path("config.toml")
    config.write_text('[supernode.source]\nretries_max = 2\nstall_timeout = "2s"\n')
    supernode = await site.supernode("--config", str(config))
    return await site.daemon("host", supernode.address)


@pytest.mark.parametrize(("status", "word"), [(404, "404"), (403, "403"), (500, "500")])
async def test_source_that_refuses_is_named_with_its_status(
    site: Site, source: FakeSource, daemon: Running, status: int, word: str
) -> None:
    source.add("/f", b"x", status=status)

    ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket)

    assert ended.code == 12
    assert word in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not site.path("out").exists()


async def test_source_that_resets_midway_is_resumed_by_range(
    site: Site, source: FakeSource, daemon: Running
) -> None:
    data = content(8 * MIB)
    source.add("/f", data, reset_after_bytes=3 * MIB, reset_count=2)

    ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket)

    assert ended.code == 0, ended.err
    assert site.path("out").read_bytes() == data
    ranges = [request.range_header for request in source.requests]
    assert ranges[0] == ""
    assert all(each.startswith("bytes=") for each in ranges[1:])


@pytest.mark.parametrize(
    "kind", [{"no_ranges": True}, {"chunked": True}], ids=["rangeless", "chunked"]
)
async def test_source_that_cannot_resume_and_resets_midway_is_read_again(
    site: Site, source: FakeSource, daemon: Running, kind: dict[str, bool]
) -> None:
    data = content(4 * MIB)
    source.add("/f", data, reset_after_bytes=2 * MIB, reset_count=1, **kind)

    ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket)

    assert ended.code == 0, ended.err
    assert site.path("out").read_bytes() == data


async def test_source_that_always_stalls_ends_in_words(site: Site, source: FakeSource) -> None:
    source.add("/f", content(2 * MIB), stall_after_bytes=100_000)
    config = site.path("config.toml")
    config.write_text('[supernode.source]\nretries_max = 1\nstall_timeout = "0.5s"\n')
    supernode = await site.supernode("--config", str(config))
    daemon = await site.daemon("host", supernode.address)

    ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket)

    assert ended.code == 11, ended.err
    assert "nothing" in ended.err
    assert not site.path("out").exists()


@pytest.mark.parametrize("lie_bytes", [1000, -1000])
async def test_source_that_lies_about_its_length_is_not_believed(
    site: Site, source: FakeSource, daemon: Running, lie_bytes: int
) -> None:
    source.add("/f", content(MIB), lie_bytes=lie_bytes)

    ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket)

    if lie_bytes > 0:
        assert ended.code in (11, 13)
        assert not site.path("out").exists()
    else:  # HTTP ends where the length says: what comes after it is not part of the content
        assert ended.code == 0, ended.err
        assert site.path("out").read_bytes() == content(MIB)


async def test_source_that_changes_midway_gives_the_new_content_or_nothing(
    site: Site, source: FakeSource, daemon: Running
) -> None:
    new = content(6 * MIB, seed=2)
    fake = source.add("/f", content(6 * MIB), stall_after_bytes=3 * MIB)
    asking = asyncio.ensure_future(
        dfget(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket)
    )
    await fake.has_stalled.wait()
    source.add("/f", new)
    fake.release()

    ended = await asking

    # The first answer was whole before the change was seen, or the second one came whole.
    assert ended.code == 0, ended.err
    assert site.path("out").read_bytes() in (new, content(6 * MIB))


async def test_wrong_digest_hands_nothing_out(
    site: Site, source: FakeSource, daemon: Running
) -> None:
    source.add("/f", content(MIB))
    site.path("out").write_bytes(b"what was there before")

    ended = await dfget(
        *(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket),
        *("--digest", "sha256:" + "0" * 64),
    )

    assert ended.code == 50
    assert site.path("out").read_bytes() == b"what was there before"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nothing://host/file"], "nothing://"),
        (["not a url"], "URL"),
        (["http://host/f", "--header", "no header"], "header"),
        (["http://host/f", "--digest", "sha256:12"], "digest"),
        (["http://host/f", "--rate-limit", "fast"], "size"),
        (["http://host/f", "--socket", "/nonexistent.sock"], "socket"),
        (["http://host/f", "--no-source"], "--no-source"),
    ],
)
async def test_call_that_makes_no_sense_is_told_so_in_one_line(
    site: Site, arguments: list[str], word: str
) -> None:
    ended = await dfget(*arguments, "-O", site.path("out"))

    assert ended.code in (2, 33)
    assert word in ended.err
    assert len(ended.err.splitlines()) == 1


async def test_port_in_use_and_folders_that_cannot_be_used(site: Site, tmp_path: Path) -> None:
    supernode = await site.supernode()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("important")

    port = await damselfly(
        "supernode", "--listen", supernode.address, "--data", str(tmp_path / "other")
    )
    in_use = await damselfly(
        "supernode", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "supernode")
    )
    not_ours = await damselfly("supernode", "--listen", "127.0.0.1:0", "--data", str(foreign))

    assert (port.code, in_use.code, not_ours.code) == (60, 43, 43)
    assert supernode.address in port.err
    assert "another process" in in_use.err
    assert "other files" in not_ours.err
    assert (foreign / "thesis.txt").read_text() == "important"


async def test_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    theirs = Path("/usr")
    if os.geteuid() == 0:
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        os.chown(theirs, 65534, 65534)
    before = sorted(theirs.iterdir())

    ended = await damselfly("supernode", "--listen", "127.0.0.1:0", "--data", str(theirs))

    assert ended.code == 43
    assert "another user" in ended.err
    assert sorted(theirs.iterdir()) == before


async def test_full_disk_is_a_clear_error_and_leaves_nothing_half(
    site: Site, source: FakeSource
) -> None:
    source.add("/f", content(4 * MIB))
    source.add("/small", content(MIB))
    supernode = await site.supernode()
    config = site.path("config.toml")
    config.write_text('[daemon.cache]\nreserve = "0"\n')
    daemon = await site.daemon(
        "host",
        supernode.address,
        *("--config", str(config), "--socket", str(site.path("socket"))),
        disk_bytes=2 * MIB,
    )

    ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket)
    small = await dfget(source.url("/small"), "-O", site.path("small"), "--socket", daemon.socket)

    assert ended.code == 41
    assert "room" in ended.err
    assert not site.path("out").exists()
    assert small.code == 0, small.err
    assert site.path("small").read_bytes() == content(MIB)


async def test_full_cache_is_a_clear_error_and_leaves_nothing_half(
    site: Site, source: FakeSource
) -> None:
    source.add("/f", content(4 * MIB))
    supernode = await site.supernode()
    daemon = await site.daemon("host", supernode.address, "--quota", "1MiB")

    ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket)

    assert ended.code == 41
    assert "room" in ended.err
    assert not list(site.path("host").glob("editions/*/*/*"))


@pytest.mark.parametrize("limit", ["disk", "quota"])
async def test_full_disk_of_the_supernode_lets_hosts_go_to_the_source_in_turn(
    site: Site, source: FakeSource, limit: str
) -> None:
    data = content(4 * MIB)
    source.add("/f", data, rate_bytes_per_s=8 * MIB)
    config = site.path("config.toml")
    quota = f'quota = "{2 * MIB if limit == "quota" else 0}"'
    settings = f'[supernode.cache]\nreserve = "0"\n{quota}\n[supernode.source]\nfallbacks_max = 1\n'
    config.write_text(settings)
    disk_bytes = 2 * MIB if limit == "disk" else 0
    supernode = await site.supernode("--config", str(config), disk_bytes=disk_bytes)
    url, where = source.url("/f"), ("--supernode", supernode.address)

    forbidding = await dfget(url, "-O", site.path("no"), *where, "--no-source")
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(dfget(url, "-O", site.path(f"out-{i}"), *where)) for i in range(3)
        ]

    ended = [task.result() for task in running]
    assert forbidding.code == 51
    assert [each.code for each in ended] == [0, 0, 0], [each.err for each in ended]
    assert any("no room" in note for note in ended[0].json["notes"])
    assert all(site.path(f"out-{i}").read_bytes() == data for i in range(3))
    # The SuperNode tries again and again, and gives up midway; the hosts go one after the other.
    assert len(source.given_whole) == 3
    assert all(one[1] < other[0] for one, other in pairwise(sorted(source.given_whole)))


async def test_source_that_resets_and_has_another_etag_then_gives_the_new_content(
    site: Site, source: FakeSource, daemon: Running
) -> None:
    new = content(6 * MIB, seed=2)
    source.add(
        "/f",
        content(6 * MIB),
        reset_after_bytes=3 * MIB,
        reset_count=1,
        changed_data=new,
        change_after_gets=1,
    )

    ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket)

    assert ended.code == 0, ended.err
    assert site.path("out").read_bytes() == new
    assert any("changed" in note for note in ended.json["notes"])


async def test_supernode_is_killed_midway_and_does_not_come_back(
    site: Site, source: FakeSource
) -> None:
    data = content(8 * MIB)
    source.add("/f", data, stall_after_bytes=4 * MIB)
    supernode = await site.supernode()
    daemons = [await site.daemon(f"host-{i}", supernode.address) for i in range(2)]
    outputs = [site.path(f"out-{i}") for i in range(2)]
    asking = [
        asyncio.ensure_future(
            dfget(source.url("/f"), "-O", output, "--socket", each.socket, timeout_s=55)
        )
        for each, output in zip(daemons, outputs, strict=True)
    ]
    await has_blocks(site.path("host-0"))
    await supernode.kill()
    source.add("/f", data)

    ended = [await each for each in asking]

    assert [each.code for each in ended] == [0, 0], ended[0].err + ended[1].err
    assert all(output.read_bytes() == data for output in outputs)
    assert any("SuperNode" in note for note in ended[0].json["notes"])


async def test_supernode_is_killed_midway_and_comes_back(site: Site, source: FakeSource) -> None:
    data = content(8 * MIB)
    source.add("/f", data, stall_after_bytes=4 * MIB)
    supernode = await site.supernode()
    daemon = await site.daemon("host", supernode.address)
    asking = asyncio.ensure_future(
        dfget(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket, "--no-source")
    )
    await has_blocks(site.path("supernode"))
    await supernode.kill()
    source.add("/f", data)
    await site.supernode(listen=supernode.address)

    ended = await asking

    assert ended.code == 0, ended.err
    assert site.path("out").read_bytes() == data
    # The restarted SuperNode kept what it had, and asked for the rest alone.
    assert source.requests[-1].range_header.startswith("bytes=")


async def test_daemon_is_killed_midway_and_resumes_after_its_restart(
    site: Site, source: FakeSource
) -> None:
    data = content(8 * MIB)
    fake = source.add("/f", data, stall_after_bytes=4 * MIB)
    supernode = await site.supernode()
    daemon = await site.daemon("host", supernode.address)
    url, output = source.url("/f"), site.path("out")
    asking = asyncio.ensure_future(dfget(url, "-O", output, "--socket", daemon.socket))
    await has_blocks(site.path("host"))
    await daemon.kill()
    broken = await asking
    fake.release()
    daemon = await site.daemon("host", supernode.address)

    ended = await dfget(url, "-O", output, "--socket", daemon.socket)

    assert broken.code == 33
    assert "resume" in broken.err
    assert ended.code == 0, ended.err
    assert output.read_bytes() == data
    assert len([request for request in source.requests if request.method == "GET"]) == 1


async def test_interrupted_ephemeral_download_resumes(site: Site, source: FakeSource) -> None:
    data = content(8 * MIB)
    fake = source.add("/f", data, stall_after_bytes=4 * MIB)
    url, output = source.url("/f"), site.path("out")

    timed_out = await dfget(url, "-O", output, "--timeout", "3s")
    half = list(site.folder.glob(".out.damselfly/editions/*/*/*/content"))
    fake.release()
    ended = await dfget(url, "-O", output)

    assert timed_out.code == 52
    assert half
    assert ended.code == 0, ended.err
    assert ended.json["bytes_by"]["cache"] > 0
    assert output.read_bytes() == data
    assert not site.path(".out.damselfly").exists()


async def test_source_changed_between_two_halves_of_a_download(
    site: Site, source: FakeSource
) -> None:
    fake = source.add("/f", content(8 * MIB), stall_after_bytes=4 * MIB)
    url, output = source.url("/f"), site.path("out")
    await dfget(url, "-O", output, "--timeout", "2s")
    fake.release()
    new = content(8 * MIB, seed=3)
    source.add("/f", new)

    ended = await dfget(url, "-O", output)

    assert ended.code == 0, ended.err
    assert output.read_bytes() == new
