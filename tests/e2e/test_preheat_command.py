"""`damselfly preheat` against a real SuperNode: what people see, and the exit codes."""

import json
from pathlib import Path

import pytest

from e2e.processes import a_site, damselfly
from fakes.source import FakeSource, random_bytes

pytestmark = pytest.mark.slow


async def test_file_is_preheated_listed_shown_and_cancelled(tmp_path: Path) -> None:
    async with FakeSource() as source, a_site(tmp_path) as site:
        source.add("/file", random_bytes(300_000, seed=1))
        supernode = await site.supernode()
        where = ("--supernode", supernode.address)

        done = await damselfly("preheat", source.url("/file"), *where)
        listed = await damselfly("preheat", "ls", *where)
        shown = await damselfly("preheat", "show", "1", "--json", *where)
        watched = await damselfly("preheat", "watch", "1", *where)
        cancelled = await damselfly("preheat", "cancel", "1", *where)

    assert (done.code, watched.code, cancelled.code) == (0, 0, 0)
    assert "success" in done.out
    assert "293.0 KiB of 293.0 KiB" in done.out
    assert listed.out.split()[:2] == ["1", "success"]
    assert json.loads(shown.out)["state"] == "success"


async def test_what_fails_is_said_in_a_line(tmp_path: Path) -> None:
    async with FakeSource() as source, a_site(tmp_path) as site:
        supernode = await site.supernode()
        where = ("--supernode", supernode.address)

        missing = await damselfly("preheat", source.url("/none"), *where)
        unknown = await damselfly("preheat", "show", "7", *where)
        wrong = await damselfly("preheat", "a", "--target", "moon", *where)
        nobody = await damselfly("preheat", "ls", "--supernode", "127.0.0.1:1")
        odd = await damselfly("preheat", "show", "x", *where)

    assert (missing.code, unknown.code, wrong.code, nobody.code, odd.code) == (1, 2, 2, 31, 2)
    assert "answered 404" in missing.out
    assert unknown.err == "damselfly: there is no preheat 7; `damselfly preheat ls` shows all\n"
    assert "write supernode, racks" in wrong.err
