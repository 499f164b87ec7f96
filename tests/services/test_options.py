"""Guards settings that cannot be: said at once and by name, not found out later."""

from pathlib import Path

import pytest

from damselfly.errors import SettingsError, UsageError
from damselfly.services.hosting.ephemeral import peer_options_of
from damselfly.services.options import (
    DaemonOptions,
    EphemeralOptions,
    ProxyOptions,
    SourceOptions,
    SuperNodeOptions,
)
from damselfly.settings import read_file


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (DaemonOptions, "listen", "65000"),
        (DaemonOptions, "supernode", "sn.example"),
        (DaemonOptions, "supernode", "sn.example:0"),
        (DaemonOptions, "advertise", ":65000"),
        (ProxyOptions, "listen", "127.0.0.1:65536"),
        (SuperNodeOptions, "listen", "127.0.0.1:80020"),
    ],
)
def test_addresses_have_a_host_and_a_port(options: type, key: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{key} must be host:port, .* and not '{value}'"):
        options(**{key: value})


def test_what_is_empty_is_not_wanted() -> None:
    assert DaemonOptions(proxy=ProxyOptions(listen="")).supernode == ""
    assert peer_options_of(EphemeralOptions()).supernode == ""


def test_a_peer_of_its_own_needs_a_whole_address_too() -> None:
    with pytest.raises(UsageError, match="'sn' is not host:port"):
        peer_options_of(EphemeralOptions(supernode="sn"))


@pytest.mark.parametrize("text", ["daemon = 3", "supernode = 'a:1'", "[[daemon]]"])
def test_part_that_is_no_table_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"settings\.toml: (daemon|supernode): must be a table"):
        read_file(str(path))


def test_hub_is_named_by_a_url() -> None:
    with pytest.raises(ValueError, match=r"hub_endpoint: URL 'hub\.example' cannot be used"):
        SourceOptions(hub_endpoint="hub.example")
