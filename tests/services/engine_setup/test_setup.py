"""Setting up and back on a host's files: nothing is lost, whatever happens meanwhile."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from damselfly.errors import EngineConfigError, UsageError
from damselfly.services.engine_setup.host_files import HostFiles
from damselfly.services.engine_setup.installed import BEFORE, EDITED, FOLDER, LIST
from damselfly.services.engine_setup.plans import Engine, Registry, Wish
from damselfly.services.engine_setup.setup import EngineSetup

WISH = Wish(proxy="127.0.0.1:65001", registries=(Registry(name="quay.io"),))
OTHER_WISH = Wish(proxy="10.1.2.3:7000", registries=(Registry(name="ghcr.io"),))
ORIGINALS = {
    "etc/docker/daemon.json": b'{"a": [1,2 ],\r\n\t"registry-mirrors": ["https://hub.corp/"]}',
    "etc/containerd/config.toml": b'#c\r\nversion=2\r\n[plugins."a"]\r\nx = [ 1,\r\n 2 ]\r\n',
    "etc/containerd/certs.d/quay.io/hosts.toml": b'[host."https://m.corp"]\nskip_verify=true',
    "etc/containers/registries.conf": b'[[registry]]\nlocation="quay.io"',
}


def a_host(root: Path, files: dict[str, bytes] | None = None) -> EngineSetup:
    for name, data in (ORIGINALS if files is None else files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return EngineSetup(str(root))


def files_in(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("engine", Engine)
def test_uninstall_puts_back_byte_for_byte(engine: Engine, tmp_path: Path) -> None:
    setup = a_host(tmp_path)
    (tmp_path / "etc/docker/daemon.json").chmod(0o640)
    before = files_in(tmp_path)

    setup.install(engine, WISH)
    assert files_in(tmp_path) != before
    setup.install(engine, OTHER_WISH)
    setup.install(engine, WISH)
    setup.uninstall(engine)

    assert files_in(tmp_path) == before
    folders = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_dir()}
    assert folders - {"var", "var/lib"} == {
        str(parent) for name in before for parent in Path(name).parents if parent.name
    }


def test_all_engines_at_once_leave_in_any_order(tmp_path: Path) -> None:
    setup = a_host(tmp_path)
    before = files_in(tmp_path)

    for engine in Engine:
        setup.install(engine, WISH)
    for engine in (Engine.DOCKER, Engine.PODMAN, Engine.CONTAINERD, Engine.CRIO):
        setup.uninstall(engine)

    assert files_in(tmp_path) == before


@pytest.mark.parametrize("engine", Engine)
def test_second_install_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    setup = a_host(tmp_path)
    setup.install(engine, WISH)
    before = files_in(tmp_path)

    again = setup.install(engine, WISH)

    assert (again.changes, again.restart) == ((), "")
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("engine", Engine)
def test_dry_run_writes_nothing_and_shows_what_would_be_written(
    engine: Engine, tmp_path: Path
) -> None:
    setup = a_host(tmp_path)
    before = files_in(tmp_path)

    shown = setup.install(engine, WISH, is_dry_run=True)
    assert files_in(tmp_path) == before
    assert shown == setup.install(engine, WISH)

    installed = files_in(tmp_path)
    undone = setup.uninstall(engine, is_dry_run=True)
    assert files_in(tmp_path) == installed
    assert undone == setup.uninstall(engine)


def test_another_proxy_takes_the_place_of_the_first(tmp_path: Path) -> None:
    setup = a_host(tmp_path)
    setup.install(Engine.DOCKER, WISH)

    setup.install(Engine.DOCKER, OTHER_WISH)

    config = json.loads((tmp_path / "etc/docker/daemon.json").read_text())
    assert config["registry-mirrors"] == ["http://10.1.2.3:7000", "https://hub.corp/"]
    assert config["insecure-registries"] == ["10.1.2.3:7000"]  # else Docker asks it for TLS


def test_edit_before_a_second_install_survives_both(tmp_path: Path) -> None:
    setup = a_host(tmp_path, {"etc/docker/daemon.json": b'{"debug": true}'})
    setup.install(Engine.DOCKER, WISH)
    path = tmp_path / "etc/docker/daemon.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "debug": False}))

    setup.install(Engine.DOCKER, WISH)
    setup.uninstall(Engine.DOCKER)

    assert json.loads(path.read_text()) == {"debug": False}


def test_files_are_restored_after_a_kill_between_list_and_files(tmp_path: Path) -> None:
    setup = a_host(tmp_path)
    before = files_in(tmp_path)
    setup.install(Engine.CONTAINERD, WISH)
    for name, data in ORIGINALS.items():  # as if the files had not been reached
        (tmp_path / name).write_bytes(data)

    setup.uninstall(Engine.CONTAINERD)

    assert {name: files_in(tmp_path)[name] for name in before} == before


def test_file_of_that_name_that_was_there_before_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "etc/containers/registries.conf.d/damselfly.conf"
    setup = a_host(tmp_path, {str(path.relative_to(tmp_path)): b"# theirs"})
    setup.install(Engine.PODMAN, WISH)
    path.write_text(path.read_text() + "# edited")

    setup.install(Engine.PODMAN, OTHER_WISH)
    setup.uninstall(Engine.PODMAN)

    assert path.read_text() == "# theirs"
    kept = tmp_path / f"{EDITED}/etc/containers/registries.conf.d/damselfly.conf"[1:]
    assert kept.read_text().endswith("# edited")


def test_list_and_copies_are_for_root_only(tmp_path: Path) -> None:
    a_host(tmp_path).install(Engine.DOCKER, WISH)

    for path in (LIST, f"{BEFORE}/etc/docker/daemon.json"):
        assert (tmp_path / path[1:]).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "etc/systemd/system/docker.service.d/damselfly.conf").stat().st_mode & (
        0o777
    ) == 0o644


@pytest.mark.parametrize("name", ["etc/docker/daemon.json", "etc/docker", "var/lib/damselfly"])
def test_link_out_of_the_root_is_not_followed(name: str, tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "daemon.json").write_text("{}")
    (root / name).parent.mkdir(parents=True)
    target = outside / "daemon.json" if name.endswith("json") else outside
    (root / name).symlink_to(target)

    with pytest.raises(EngineConfigError, match="symbolic link"):
        EngineSetup(str(root)).install(Engine.DOCKER, WISH)

    assert files_in(outside) == {"daemon.json": ((outside / "daemon.json").stat().st_mode, b"{}")}


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    setup = a_host(tmp_path)

    with (
        HostFiles(str(tmp_path)).locked(FOLDER),
        pytest.raises(EngineConfigError, match="another install"),
    ):
        setup.install(Engine.DOCKER, WISH)


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("etc/docker/daemon.json", lambda path: path.write_bytes(b"\xff{}"), "UTF-8"),
        ("etc/docker/daemon.json", lambda path: path.mkdir(), "no file"),
        ("etc/docker/daemon.json", lambda path: path.write_bytes(b" " * (5 << 20)), "no file"),
        ("etc/docker/daemon.json", lambda path: path.write_text("[" * 100_000), "no JSON"),
        (LIST[1:], lambda path: path.write_text("{}"), "not the list"),
    ],
)
def test_broken_file_is_named_and_nothing_is_written(
    name: str, spoil: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    setup = a_host(tmp_path, {})
    (tmp_path / name).parent.mkdir(parents=True)
    spoil(tmp_path / name)
    before = files_in(tmp_path)

    with pytest.raises(EngineConfigError, match=words) as caught:
        setup.install(Engine.DOCKER, WISH)

    assert caught.value.path == f"/{name}"
    assert files_in(tmp_path) == before


def test_another_user_is_told_to_be_root(tmp_path: Path) -> None:
    setup = a_host(tmp_path)
    tmp_path.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        with pytest.raises(EngineConfigError, match="run it as root"):
            setup.install(Engine.DOCKER, WISH)
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("quay.io", Registry(name="quay.io")),
        ("https://Quay.io/", Registry(name="quay.io")),
        ("http://127.0.0.1:5000", Registry(name="127.0.0.1:5000", is_plain_http=True)),
        ("127.0.0.1:5000", Registry(name="127.0.0.1:5000", is_plain_http=True)),
        ("https://127.0.0.1:5000", Registry(name="127.0.0.1:5000")),
        ("[::1]:5000", Registry(name="[::1]:5000", is_plain_http=True)),
        ("registry-1.docker.io", Registry(name="docker.io")),
    ],
)
def test_registry_is_what_images_are_named_after(text: str, registry: Registry) -> None:
    assert Registry.parse(text) == registry


@pytest.mark.parametrize(
    "text",
    ["", "quay.io/lib", "ftp://a", "a b", "a:b", "a:0", "..", "user@a", 'a"', "é.test", "a:"],
)
def test_registry_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--registry"):
        Registry.parse(text)


def test_podman_cannot_mirror_an_ipv6_address(tmp_path: Path) -> None:
    wish = Wish(proxy="127.0.0.1:65001", registries=(Registry(name="[::1]:5000"),))

    with pytest.raises(UsageError, match="IPv4"):
        a_host(tmp_path).install(Engine.PODMAN, wish)


@pytest.mark.parametrize("text", ["", "65001", "host", "host:", "http://host:1", "host:1/x"])
def test_proxy_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--proxy"):
        Wish(proxy=text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    config=st.dictionaries(
        st.text().filter(lambda key: key not in ("registry-mirrors", "insecure-registries")),
        json_values,
        max_size=5,
    ),
    mirrors=st.lists(st.text(), max_size=3),
    indent=st.sampled_from([None, 1, 2, 4, "\t"]),
    edit=st.booleans(),
)
def test_any_daemon_json_keeps_what_it_says(
    config: dict[str, Any],
    mirrors: list[str],
    indent: int | str | None,
    *,
    edit: bool,
    tmp_path: Path,
) -> None:
    original = {**config, "registry-mirrors": mirrors} if mirrors else config
    setup = a_host(
        tmp_path, {"etc/docker/daemon.json": json.dumps(original, indent=indent).encode()}
    )
    path = tmp_path / "etc/docker/daemon.json"

    setup.install(Engine.DOCKER, WISH)
    now = json.loads(path.read_text())
    if edit:
        path.write_text(path.read_text() + " ")
    setup.uninstall(Engine.DOCKER)

    kept = [mirror for mirror in mirrors if mirror.rstrip("/") != WISH.proxy_url]
    assert now == {**config, "registry-mirrors": [WISH.proxy_url, *kept]}
    assert [key for key in now if key in original] == list(original)
    assert (json.loads(path.read_text()) if path.exists() else {}) == original
