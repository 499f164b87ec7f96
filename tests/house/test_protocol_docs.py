"""docs/protocols/ says what the code sends: every message, every field, every example.

A message is documented under a heading `## ClassName`, with a table of its fields and an
example: JSON in which bytes are written as `hex:…`, and for MessagePack the bytes too.
"""

import json
import re
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from damselfly.core.task import SourceFacts, TaskSpec, Validators, name_edition
from damselfly.wire import (
    cache_messages,
    link_messages,
    local_messages,
    session_messages,
    status_messages,
)
from damselfly.wire.tagged import Message

PROTOCOLS = Path(__file__).resolve().parents[2] / "docs" / "protocols"
FIELD_ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| (\S+) \| [^|]+ \|$", re.MULTILINE)


def structs_of(module: ModuleType) -> list[type[msgspec.Struct]]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == module.__name__
    ]


DOCUMENTED = [
    pytest.param(struct, name, id=f"{name}-{struct.__name__}")
    for module, name in (
        (session_messages, "session.md"),
        (link_messages, "link.md"),
        (local_messages, "local.md"),
        (status_messages, "local.md"),
        (cache_messages, "local.md"),
    )
    for struct in structs_of(module)
]


def section(struct: type[msgspec.Struct], document: str) -> str:
    tag = struct.__struct_config__.tag
    title = f"## {struct.__name__}" + (f" (`{tag}`)" if tag else "")
    _, found, rest = (PROTOCOLS / document).read_text().partition(f"\n{title}\n")
    assert found, f"docs/protocols/{document} lacks the heading {title!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def fenced(text: str, language: str) -> str | None:
    found = re.search(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return found[1] if found else None


def with_bytes(value: object) -> object:
    """Return JSON with `hex:…` turned into bytes."""
    if isinstance(value, str) and value.startswith("hex:"):
        return bytes.fromhex(value.removeprefix("hex:"))
    if isinstance(value, dict):
        return {key: with_bytes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_bytes(item) for item in value]
    return value


@pytest.mark.parametrize(("struct", "document"), DOCUMENTED)
def test_each_field_is_in_the_table(struct: type[msgspec.Struct], document: str) -> None:
    fields = {
        field.name: "required" if field.required else "optional"
        for field in msgspec.structs.fields(struct)
    }

    rows = {
        name: "required" if default == "required" else "optional"
        for name, default in FIELD_ROW.findall(section(struct, document))
    }

    assert rows == fields
    assert list(rows) == list(fields)


@pytest.mark.parametrize(("struct", "document"), DOCUMENTED)
def test_each_default_is_the_one_of_the_code(struct: type[msgspec.Struct], document: str) -> None:
    told = dict(FIELD_ROW.findall(section(struct, document)))

    for field in msgspec.structs.fields(struct):
        if field.default is not msgspec.NODEFAULT:
            shown = '""' if field.default == b"" else msgspec.json.encode(field.default).decode()
            assert told[field.name] == f"`{shown}`", field.name


@pytest.mark.parametrize(("struct", "document"), DOCUMENTED)
def test_each_example_is_a_message(struct: type[msgspec.Struct], document: str) -> None:
    text = section(struct, document)
    example = fenced(text, "json")
    if "never sent alone" in text:
        return
    assert example is not None
    value = with_bytes(json.loads(example))
    if not issubclass(struct, Message):
        msgspec.json.decode(example, type=struct)
        return

    message = msgspec.convert(value, struct)

    told = "".join((fenced(text, "hex") or "").split())
    sent = msgspec.msgpack.encode(message).hex()
    assert msgspec.msgpack.decode(bytes.fromhex(sent)) == value
    assert told == sent


def test_ids_are_made_as_identity_says() -> None:
    text = (PROTOCOLS / "identity.md").read_text()
    task_id = TaskSpec(url="https://Example.com:443/model.bin").task_id
    facts = SourceFacts(size_bytes=1 << 30, validators=Validators(etag='"5f3a"'))

    assert f"```\n{task_id}\n```" in text
    edition_id = name_edition(task_id, facts, block_bytes=4 << 20, reading="")
    assert f"```\n{edition_id}\n```" in text
