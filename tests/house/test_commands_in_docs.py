"""Commands that documents tell people to type exist, with their flags; links lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from damselfly.faces.cli import dfget
from damselfly.faces.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]

_FENCE = re.compile(r"^```(?:sh|bash|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_OURS = re.compile(r"(damselfly|dfget|make|scripts/\w+\.sh)(\s|$)")
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def commands(text: str) -> Iterator[str]:
    """Yield the commands of ours in a document."""
    lines = [line for block in _FENCE.findall(text) for line in block.splitlines()]
    for line in (*lines, *_INLINE.findall(text)):
        bare = line.strip().removeprefix("$ ").removeprefix("sudo ")
        if _OURS.match(bare) and not re.match(r"damselfly [\w ]*:", bare):  # a line that it prints
            yield re.sub(r"\s#.*|\\$|\|.*", "", bare)


def fault_of(line: str) -> str:
    """Return why a command cannot be, or nothing."""
    program, *words = shlex.split(line)
    if program.startswith("scripts/"):
        return "" if (ROOT / program).is_file() else "no such script"
    if program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return "" if set(words[:1]) <= set(targets) else "no such target"
    flags = [word.partition("=")[0] for word in words if re.match(r"-[-a-zA-Z]", word)]
    if program == "dfget":
        known = set(dfget._parser()._option_string_actions)
    else:
        command: Any = get_command(app)
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            if words[0] not in command.commands:
                return f"no such command: {words[0]}"
            command = command.commands[words.pop(0)]
        known = {"--help", *(name for each in command.params for name in each.opts)}
    return f"no such flags: {set(flags) - known}" if set(flags) - known else ""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_exist(path: Path) -> None:
    text = path.read_text()

    assert {line: fault for line in commands(text) if (fault := fault_of(line))} == {}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_documents_lead_somewhere(path: Path) -> None:
    links = _LINK.findall(path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_there_are_commands_in_the_documents() -> None:
    found = [line for path in DOCUMENTS for line in commands(path.read_text())]

    assert {"damselfly up", "make demo", "make test"} <= {line.strip() for line in found}
    assert fault_of("damselfly up --nonsense")
    assert fault_of("damselfly nonsense")
    assert fault_of("dfget http://host/f --nonsense")
    assert fault_of("make nonsense")
    assert fault_of("scripts/nonsense.sh")
