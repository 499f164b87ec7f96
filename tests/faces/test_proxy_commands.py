"""`damselfly proxy explain` and `damselfly ca show`."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from damselfly.errors import StorageUnusableError, TaskSpecError
from damselfly.faces.cli.main import app
from damselfly.services.own_ca import load_ca, make_ca

SETTINGS = """
[[daemon.proxy.rules]]
action = "direct"
host = "login.example"

[[daemon.proxy.rules]]
action = "redirect"
host = "hub.example"
redirect_to = "mirror.example:5000"

[[daemon.proxy.rules]]
action = "p2p"
host = "mirror.example"
use_https = true
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "settings.toml").write_text(SETTINGS)
    return str(tmp_path / "settings.toml")


def explained(config: str, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["proxy", "explain", "--config", config, *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_explain_names_each_rule_that_was_asked_and_why(config: str) -> None:
    assert explained(config, "http://hub.example/x?token=s3cret") == (
        "GET http://hub.example/x\n"
        "  rule 1: direct login.example/**\n"
        "    no: its host login.example is not hub.example:80\n"
        "  rule 2: redirect to mirror.example:5000 hub.example/**\n"
        "    acts: hub.example/x is hub.example/**\n"
        "  rule 3: p2p mirror.example/** with https\n"
        "    acts: mirror.example/x is mirror.example/**\n"
        "so it is p2p, as https://mirror.example:5000/x: rule 3 says p2p\n"
    )


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        (["https://login.example/"], "so the proxy sees nothing of it"),
        (["https://login.example:25/"], "so it is refused"),
        (["http://other.example/"], "so it is direct: no rule"),
        (["https://mirror.example/", "--method", "post"], "but POST is never shared"),
        (["http://mirror.example/", "--header", "Range: bytes=0-1,5-6"], "several ranges"),
    ],
)
def test_explain_ends_with_what_happens(config: str, arguments: list[str], last: str) -> None:
    assert explained(config, *arguments).splitlines()[-1].endswith(last)


def test_explain_for_programs(config: str) -> None:
    told: dict[str, Any] = json.loads(explained(config, "https://hub.example/x", "--json"))

    assert told["connect"] == {"way": "opened", "reason": "rule 2 names hub.example"}
    assert (told["action"], told["source_url"]) == ("p2p", "https://mirror.example:5000/x")
    assert [rule["has_matched"] for rule in told["rules"]] == [False, True, True]


def test_explain_refuses_what_is_no_url_or_header(config: str) -> None:
    with pytest.raises(TaskSpecError, match="must begin with http"):
        explained(config, "ftp://a.example/")
    with pytest.raises(TaskSpecError, match="Name: value"):
        explained(config, "http://a.example/", "--header", "nonsense")


def test_ca_show_prints_the_certificate_alone_where_programs_read(tmp_path: Path) -> None:
    make_ca(str(tmp_path))
    ca = load_ca(str(tmp_path))

    result = CliRunner().invoke(app, ["ca", "show", "--data", str(tmp_path)])

    assert result.stdout == ca.pem
    for part in (str(tmp_path / "ca" / "ca.pem"), ca.fingerprint, "update-ca-certificates"):
        assert part in result.stderr


def test_ca_show_says_that_there_is_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ca", "show", "--data", str(tmp_path)])

    assert isinstance(result.exception, StorageUnusableError)
    assert "makes one at its first start" in str(result.exception)
