"""Stories of engines that are set up and set back: files, commands, and what they showed.

A story is a text file of steps. `== /path` is a file with the text below it, `== rm /path`
removes one, `== show /path` shows one, and `== install …` or `== uninstall …` is the command,
whose output follows. With REWRITE=1 in the environment the outputs are written anew; then
read the diff.
"""

import os
from pathlib import Path

import pytest

from damselfly.errors import DamselflyError
from damselfly.services.engine_setup.plans import Engine, Registry, Wish
from damselfly.services.engine_setup.setup import EngineSetup

FOLDER = Path(__file__).parent / "stories"
STORIES = sorted(FOLDER.glob("*.txt"))


def ran(root: Path, words: list[str]) -> str:
    """Run a command of a story and return what it shows."""
    command, engine, *flags = words
    options = [flag for flag in flags if flag.startswith("--")]
    ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    wish = Wish(
        proxy="127.0.0.1:65001",
        registries=tuple(Registry.parse(flag) for flag in flags if not flag.startswith("--")),
        ca_text=ca if "--ca" in options else "",
        is_mirror_only="--mirror-only" in options,
    )
    setup = EngineSetup(str(root))
    is_dry_run = "--dry-run" in options
    try:
        if command == "install":
            done = setup.install(Engine(engine), wish, is_dry_run=is_dry_run)
        else:
            done = setup.uninstall(Engine(engine), is_dry_run=is_dry_run)
    except DamselflyError as exc:
        return f"{type(exc).__name__}: {exc}\n"
    shown = "".join(f"note: {note}\n" for note in done.notes)
    return f"{done.diff()}{shown}{f'run: {done.restart}' if done.restart else 'run nothing'}\n"


def told(root: Path, step: str, text: str) -> str:
    """Take one step and return its text as it should stand in the story."""
    words = step.split()
    if words[0] in ("install", "uninstall"):
        return ran(root, words)
    path = root / words[-1].lstrip("/")
    if words[0] == "show":
        return path.read_text() if path.exists() else "there is none\n"
    if words[0] == "rm":
        path.unlink()
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return text


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, tmp_path: Path) -> None:
    story = path.read_text()
    head, *steps = story.split("\n== ")

    parts = [head]
    for each in steps:
        step, _, text = each.partition("\n")
        # A blank line closes a step; the file before it ends with its own newline.
        body = text.removesuffix("\n") + "\n" if text.strip() else ""
        parts.append(f"{step}\n{told(tmp_path, step, body)}")
    answer = "\n== ".join(parts)

    if os.environ.get("REWRITE"):
        path.write_text(answer)
    assert answer == path.read_text()


def test_there_are_stories() -> None:
    assert STORIES
