"""docs/running/settings.md is what the option classes say; REWRITE=1 writes it anew."""

import dataclasses
import os
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from damselfly.errors import SettingsError
from damselfly.services.options import DaemonOptions, SuperNodeOptions
from damselfly.settings import PARTS, key_of, options_for, settings_in_force

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "running" / "settings.md"

INTRODUCTION = """\
# Settings

`damselfly supernode`, `daemon` and `up` take `--config FILE`, or the environment variable
`DAMSELFLY_CONFIG`. The file is TOML with a table for each part. Sizes are written as `"20MiB"`,
`"1.5GB"` or a number of bytes, rates the same per second, times as `"30s"`, `"10m"` or a number of
seconds. Flags win over the file; a key that does not exist is an error that names the nearest
one. `damselfly settings show --config FILE` prints what is in force.

```toml
[supernode]
listen = "0.0.0.0:8002"

[supernode.cache]
quota = "200GiB"

[daemon]
supernode = "supernode.example:8002"
location = "eu/zone-a/rack-7"
```

This page is made from the option classes in `services/options.py`.
"""


def meanings(kind: type) -> dict[str, str]:
    """Return {field: its description in the docstring}."""
    _, _, text = (kind.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^        (\w+): (.*(?:\n            .*)*)", text, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in found}


def as_written(value: Any) -> str:  # noqa: ANN401
    """Return a value as the settings file has it; a list of tables by its length."""
    if isinstance(value, tuple) and any(dataclasses.is_dataclass(each) for each in value):
        return f"{len(value)} as below" if len(value) > 1 else str(value[0])
    if isinstance(value, tuple):
        return f"[{', '.join(as_written(each) for each in value)}]"
    return f'"{value}"' if isinstance(value, str | StrEnum) else f"{value}"


def rows(prefix: str, options: Any, *, head: str = "[{}]") -> Iterator[str]:  # noqa: ANN401
    told, hints = meanings(type(options)), get_type_hints(type(options))
    nested: list[tuple[str, Any, str]] = []
    yield f"\n## {head.format(prefix)}\n\n| key | default | meaning |\n|---|---|---|"
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        key = f"{prefix}.{key_of(field.name)}"
        if dataclasses.is_dataclass(value):
            nested.append((key, value, "[{}]"))
            continue
        if get_origin(hint := hints[field.name]) is tuple:
            (each, _) = get_args(hint)
            if isinstance(each, type) and dataclasses.is_dataclass(each):
                nested.append((key, each(), "[[{}]]"))
        yield f"| `{key_of(field.name)}` | `{as_written(value)}` | {told[field.name]} |"
    for name, value, shape in nested:
        yield from rows(name, value, head=shape)


def test_settings_are_documented() -> None:
    parts = [*rows("supernode", SuperNodeOptions()), *rows("daemon", DaemonOptions())]
    text = INTRODUCTION + "\n".join(parts) + "\n"

    if os.environ.get("REWRITE"):
        DOCUMENT.write_text(text)
    assert DOCUMENT.read_text() == text


def test_file_and_flags_become_options() -> None:
    tables = {"listen": "127.0.0.1:1", "cache": {"quota": "2GiB"}, "source": {"ca_file": "x"}}

    options = options_for(
        SuperNodeOptions, tables=tables, flags={"listen": "127.0.0.1:2", "cache.reserve_bytes": 5}
    )

    assert options.listen == "127.0.0.1:2"
    assert (options.cache.quota_bytes, options.cache.reserve_bytes) == (2 << 30, 5)
    assert options.source.ca_file == "x"
    assert options.uploads == SuperNodeOptions().uploads


@pytest.mark.parametrize(
    ("tables", "word"),
    [
        ({"listne": "x"}, "did you mean listen"),
        ({"listen": 5}, "text"),
        ({"cache": {"quota": "much"}}, "20MiB"),
        ({"cache": 5}, "table"),
        ({"source": {"freshness_window": "soon"}}, "30s"),
        ({"source": {"serve_stale": "maybe"}}, "unreachable"),
        ({"source": {"retries_max": -1}}, "negative"),
        ({"neighbours": True}, "whole number"),
    ],
)
def test_wrong_setting_is_named_with_what_would_be_right(tables: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        options_for(SuperNodeOptions, file="file.toml", tables=tables, flags={})


def test_a_location_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match="location 'eu//rack-7' cannot be used"):
        options_for(DaemonOptions, tables={}, flags={"location": "eu//rack-7"})


def test_a_list_of_tables_becomes_options_in_order() -> None:
    rules = [
        {"action": "redirect", "host": "a.example", "redirect_to": "b.example:5000"},
        {"action": "p2p", "path": "/models/**", "filtered_query": ["sig", "expires"]},
    ]

    options = options_for(DaemonOptions, tables={"proxy": {"rules": rules}}, flags={}).proxy

    assert [rule.action for rule in options.rules] == ["redirect", "p2p"]
    assert options.rules[1].filtered_query == ("sig", "expires")
    assert options.connect_ports == DaemonOptions().proxy.connect_ports


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ({"rules": 5}, "daemon.proxy.rules: must be a list"),
        ({"rules": [5]}, r"\[\[daemon.proxy.rules\]\] tables"),
        ({"rules": [{}, {"action": "p2q"}]}, r"rules\[2\].action: must be one of p2p, direct"),
        ({"rules": [{"hots": "x"}]}, "did you mean host"),
        ({"rules": [{"host": "a b"}]}, r"rules\[1\]: host must be such as"),
        ({"rules": [{"path": "models"}]}, "path must begin with /"),
        ({"rules": [{"scheme": "ftp"}]}, "scheme must be http"),
        ({"rules": [{"action": "redirect"}]}, "redirect_to belongs to"),
        ({"rules": [{"action": "redirect", "redirect_to": "a/b"}]}, "redirect_to must be host"),
        ({"rules": [{"filtered_query": [5]}]}, "must be text"),
        ({"allow": ["10.0.0.1/8"]}, "no network such as"),
        ({"connect_ports": [0]}, "1 to 65535"),
        ({"connect_ports": ["https"]}, "whole number"),
        ({"tunnels_max": 0}, "at least 1"),
        ({"idle_timeout": "0s"}, "positive"),
    ],
)
def test_wrong_setting_of_the_proxy_is_named(proxy: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        options_for(DaemonOptions, file="file.toml", tables={"proxy": proxy}, flags={})


def test_lists_are_shown_one_by_one() -> None:
    shown = {each.key: each.value for each in settings_in_force("daemon", DaemonOptions())}

    assert shown["daemon.proxy.rules[1]"] == "p2p */v2/**/blobs/sha256:*"
    assert shown["daemon.proxy.connect_ports"] == (443,)


def test_all_parts_have_options() -> None:
    expected = {"supernode": SuperNodeOptions, "daemon": DaemonOptions}
    assert set(PARTS.values()) == set(expected.values())
