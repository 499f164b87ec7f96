"""docs/running/settings.md is what the option classes say; REWRITE=1 writes it anew."""

import dataclasses
import os
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from damselfly.errors import SettingsError
from damselfly.services.options import DaemonOptions, SuperNodeOptions
from damselfly.settings import PARTS, key_of, options_for

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


def rows(prefix: str, options: Any) -> Iterator[str]:  # noqa: ANN401
    told = meanings(type(options))
    nested = []
    yield f"\n## [{prefix}]\n\n| key | default | meaning |\n|---|---|---|"
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            nested.append((f"{prefix}.{key_of(field.name)}", value))
            continue
        shown = f'"{value}"' if isinstance(value, str | StrEnum) else f"{value}"
        yield f"| `{key_of(field.name)}` | `{shown}` | {told[field.name]} |"
    for name, value in nested:
        yield from rows(name, value)


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


def test_all_parts_have_options() -> None:
    expected = {"supernode": SuperNodeOptions, "daemon": DaemonOptions}
    assert set(PARTS.values()) == set(expected.values())
