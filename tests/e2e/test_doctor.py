"""`damselfly doctor` against real processes: all is well, and then one thing after the other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.processes import Running, Site, a_site, damselfly

pytestmark = pytest.mark.slow


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as site:
        (tmp_path / "host/usr/bin").mkdir(parents=True)
        (tmp_path / "host/usr/bin/containerd").touch()
        yield site


async def examined(site: Site, daemon: Running, *flags: str) -> tuple[int, dict[str, str]]:
    """Return the exit code and {check: verdict}."""
    where = ("--socket", daemon.socket, "--root", str(site.path("host")))
    ended = await damselfly("doctor", "--json", *where, *flags)
    assert ended.err == ""
    return ended.code, {each["check"]: each["verdict"] for each in ended.json["findings"]}


async def test_what_works_is_well_and_what_breaks_is_found(site: Site) -> None:
    supernode = await site.supernode()
    daemon = await site.daemon("ann", supernode.address)
    root = str(site.path("host"))
    done = await damselfly("install", "containerd", "--root", root, "--proxy", daemon.proxy)
    assert (done.code, done.err) == (0, "")

    code, well = await examined(site, daemon)
    assert code == 0
    assert {check: verdict for check, verdict in well.items() if verdict != "ok"} in (
        {"registry": "skipped"},
        {"registry": "skipped", "ca": "skipped"},
    )

    # 1. The engine's file is changed by somebody else.
    hosts = site.path("host") / "etc/containerd/certs.d/_default/hosts.toml"
    before = hosts.read_text()
    hosts.write_text("")
    code, found = await examined(site, daemon)
    assert (code, found["engine containerd"]) == (1, "failed")
    hosts.write_text(before)

    # 2. The SuperNode ends.
    await supernode.stop()
    code, found = await examined(site, daemon)
    assert code == 1
    assert (found["session"], found["supernode"], found["clock"]) == ("failed", "failed", "skipped")
    assert (found["daemon"], found["proxy"]) == ("ok", "ok")

    # 3. The daemon ends too.
    await daemon.stop()
    code, found = await examined(site, daemon)
    assert (code, found["daemon"], found["proxy"]) == (1, "failed", "skipped")


async def test_text_says_what_to_do_for_each_failure(site: Site) -> None:
    ended = await damselfly(
        "doctor", "--socket", str(site.path("none.sock")), "--root", str(site.path("host"))
    )

    assert ended.code == 1
    assert "damselfly daemon" in ended.out
    assert "→ run `damselfly install containerd`" in ended.out
    assert " failed, " in ended.out.splitlines()[-1]


async def test_proxy_that_is_no_address_is_refused(site: Site) -> None:
    ended = await damselfly("doctor", "--proxy", "foo", "--root", str(site.path("host")))

    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "damselfly: --proxy 'foo' is not host:port, such as 127.0.0.1:65001\n"


async def test_root_that_is_empty_is_not_the_folder_one_is_in() -> None:
    """As of `--root "$NOT_SET"`."""
    for flags in (("install", "containerd", "--dry-run"), ("uninstall", "containerd", "--dry-run")):
        ended = await damselfly(*flags, "--root", "")
        assert ended.code != 0
        assert ended.err == "damselfly: '': there is no such folder; see --root\n"
