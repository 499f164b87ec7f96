"""dfget as a person meets it: its help, its lines, and Ctrl-C."""

import asyncio
import base64
import os
import random
import re
import signal
from importlib import metadata
from pathlib import Path

import pytest

from damselfly import errors
from e2e.processes import BIN, Ended, Site, dfget, has_blocks, run
from fakes.source import FakeSource

pytestmark = pytest.mark.slow

DATA = random.Random(11).randbytes(6 << 20)


async def interrupted(cache: Path, *arguments: str) -> Ended:
    """Run dfget, and press Ctrl-C when a cache has got something of what it asked for."""
    process = await asyncio.create_subprocess_exec(
        *(str(BIN / "dfget"), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await has_blocks(cache)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def flags_of(site: Site, way: str) -> tuple[str, ...]:
    """Start a SuperNode and a daemon; return the flags that lead dfget one of its ways."""
    supernode = await site.supernode()
    daemon = await site.daemon("host", supernode.address)
    ways = {
        "daemon": ("--socket", daemon.socket),
        "peer": ("--supernode", supernode.address),
        "direct": (),
    }
    return ways[way]


@pytest.mark.parametrize("way", ["daemon", "peer", "direct"])
async def test_ctrl_c_leaves_a_state_that_the_same_command_resumes(site: Site, way: str) -> None:
    async with FakeSource() as source:
        content = source.add("/f", DATA, stall_after_bytes=3 << 20)
        output = site.path("out")
        where = await flags_of(site, way)
        cache = site.path("host" if way == "daemon" else ".out.damselfly")
        call = (source.url("/f"), "-O", str(output), *where)

        broken = await interrupted(cache, *call)
        existed = output.exists()
        content.release()
        ended = await dfget(*call)

        assert broken.code == 130, broken.err
        assert broken.err.splitlines()[-1].endswith("run the same command again to resume")
        assert "Traceback" not in broken.err
        assert not existed
        assert ended.code == 0, ended.err
        assert ended.json["bytes_by"]["cache"] > 0
        assert output.read_bytes() == DATA
        assert [path.name for path in site.folder.glob(".out*")] == []


async def test_lines_for_a_log_say_where_bytes_come_from(site: Site) -> None:
    async with FakeSource() as source:
        source.add("/f", DATA, rate_bytes_per_s=2 << 20)

        ended = await run(str(BIN / "dfget"), source.url("/f"), "-O", str(site.path("out")))

        first, *middle, last = ended.err.splitlines()
        assert first.startswith("dfget: no daemon and no SuperNode here")
        assert re.fullmatch(r"dfget: fetching, \S+ MiB of 6.0 MiB: \S+ MiB from source", middle[0])
        expected = r".*/out: 6.0 MiB in \S+ s \(\S+ MiB/s\), 6.0 MiB from source"
        assert re.fullmatch(expected, last)


@pytest.mark.parametrize("way", ["daemon", "direct"])
async def test_a_netrc_says_who_asks_as_curl_reads_it(site: Site, way: str) -> None:
    netrc = site.path("netrc")
    netrc.write_text("machine 127.0.0.1 login anna password hidden-word\n")
    shown = "Basic " + base64.b64encode(b"anna:hidden-word").decode()
    supernode = await site.supernode()
    daemon = await site.daemon("host", supernode.address)
    where = ("--socket", daemon.socket) if way == "daemon" else ()
    async with FakeSource() as source:
        for name in ("/f", "/g"):
            source.add(name, DATA[:100_000], accepted={shown})
        listed = site.path("list")
        listed.write_text(f"{source.url('/f')}\n{source.url('/g')}\n")

        refused = await dfget(source.url("/f"), "-O", site.path("no"), *where)
        one = await dfget(
            *(source.url("/f"), "-O", site.path("one"), "--netrc-file", netrc, *where)
        )
        many = await dfget(
            *("--from-file", listed, "-O", site.path("many"), "--netrc-file", netrc, *where)
        )
        lacking = await dfget(source.url("/f"), "--netrc-file", site.path("none"), *where)

    assert refused.code == errors.SourceRefusedError.exit_code
    assert one.code == 0, one.err
    assert many.code == 0, many.err
    assert sorted(path.name for path in site.path("many").iterdir()) == ["f", "g"]
    assert lacking.code == errors.UsageError.exit_code
    assert "--netrc-file" in lacking.err
    for ended in (one, many, lacking):
        assert "hidden-word" not in ended.err + ended.out


async def test_help_lists_each_exit_code_once() -> None:
    ended = await run(str(BIN / "dfget"), "--help")

    listed = [int(code) for code in re.findall(r"^ {2,}(\d+)  \S", ended.out, re.MULTILINE)]
    known = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.DamselflyError)
    }
    assert sorted(listed) == sorted({0, 130} | known)


@pytest.mark.parametrize("program", ["dfget", "damselfly"])
async def test_version_and_short_help_are_where_people_look(program: str) -> None:
    version = await run(str(BIN / program), "--version")
    short, long = [await run(str(BIN / program), flag) for flag in ("-h", "--help")]

    assert (version.code, short.code, long.code) == (0, 0, 0)
    assert version.out.split()[-1] == metadata.version("damselfly")
    assert short.out == long.out != ""


async def test_an_empty_content_came_from_nowhere(site: Site) -> None:
    async with FakeSource() as source:
        source.add("/f", b"")

        ended = await run(
            *(str(BIN / "dfget"), source.url("/f"), "-O", str(site.path("out"))),
            *("-H", "X-One: 1"),
        )

        assert ended.code == 0, ended.err
        assert re.fullmatch(r".*/out: 0 B in \S+ s", ended.err.splitlines()[-1])
        assert all(headers["X-One"] == "1" for headers in source.headers_seen)


async def test_output_that_nobody_reads_is_no_failure(site: Site) -> None:
    async with FakeSource() as source:
        source.add("/f", DATA)
        output = site.path("out")
        command = f'"{BIN}/dfget" "{source.url("/f")}" --socket "$1" -O "{output}" --json | true'
        daemon = await site.daemon("host", "")

        ended = await run("bash", "-c", f"set -o pipefail; {command}", "-", daemon.socket)

        assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
        assert output.read_bytes() == DATA


@pytest.mark.parametrize("way", ["daemon", "peer", "direct"])
async def test_standard_output_takes_the_content_and_nothing_else(site: Site, way: str) -> None:
    text = base64.b64encode(DATA).decode()
    async with FakeSource() as source:
        source.add("/f", text.encode())
        where = await flags_of(site, way)
        temporary = site.path("temporary")
        temporary.mkdir()
        command = (str(BIN / "dfget"), source.url("/f"), "-O", "-", *where)

        ended = await run(*command, env={"TMPDIR": str(temporary)})

        assert ended.code == 0, ended.err
        assert ended.out == text
        assert ended.err.splitlines()[-1].startswith("/dev/stdout: 8.0 MiB in ")
        assert list(temporary.iterdir()) == []


async def test_a_pipe_is_written_into_and_stays(site: Site) -> None:
    data = DATA[:10_000]  # has room in a pipe
    async with FakeSource() as source:
        source.add("/f", data)
        pipe = site.path("pipe")
        os.mkfifo(pipe)
        with os.fdopen(os.open(pipe, os.O_RDWR), "rb") as reader:
            ended = await dfget(source.url("/f"), "-O", pipe)

            assert ended.code == 0, ended.err
            assert reader.read(len(data)) == data
        assert pipe.is_fifo()


@pytest.mark.parametrize("flag", ["--json", "--recursive"])
async def test_what_standard_output_cannot_take_is_refused_at_once(flag: str) -> None:
    url = "http://127.0.0.1:9/f/"

    ended = await run(str(BIN / "dfget"), url, "-O", "-", flag)

    assert ended.code == 2
    assert ("standard output" if flag == "--json" else "need a folder") in ended.err + ended.out
