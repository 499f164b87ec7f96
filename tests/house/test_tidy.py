"""House rules that a reviewer forgets and a newcomer cannot know: sizes, names, leftovers."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60  # without docstring
NAMES_BANNED = {"utils", "helpers", "common", "manager", "base", "misc"}

_UNNUMBERED = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))")  # TODO(#12): … is fine
# Written with a class of one letter each, so that this file does not match itself.
_MACHINE_PATH = re.compile(r"(?<![\w.~/}-])/(?:[w]ork|[r]oot|[o]pt/wheels)(?![\w-])")
_INDEX_HOST = re.compile(
    r"[p]ypi\.org|[p]ythonhosted\.org|[d]eb\.debian\.org|--(?:[e]xtra-)?index-url"
)


def committed_files() -> list[Path]:
    names = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],  # a clone may be somebody else's
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def python_files() -> list[Path]:
    return [path for path in committed_files() if path.suffix == ".py"]


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield `file:line` and the text of each line; nothing of a binary file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    for number, line in enumerate(text.splitlines(), start=1):
        yield f"{path.relative_to(ROOT)}:{number}", line


def matches(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{place}: {line.strip()}"
        for path in paths
        for place, line in text_lines(path)
        if pattern.search(line)
    ]


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


def test_no_module_is_too_long() -> None:
    too_long = {
        str(path.relative_to(ROOT)): count
        for path in python_files()
        if (count := len(path.read_text().splitlines())) > MODULE_LINES_MAX
    }

    assert too_long == {}, f"more than {MODULE_LINES_MAX} lines: find the second subject in it"


def test_no_function_is_too_long() -> None:
    too_long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": count
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (count := function_lines(node)) > FUNCTION_LINES_MAX
    }

    assert too_long == {}, f"more than {FUNCTION_LINES_MAX} lines without docstring"


def test_no_file_has_a_name_that_says_nothing() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in python_files()
        if NAMES_BANNED & {*path.relative_to(ROOT).parent.parts, *path.stem.split("_")}
    ]

    assert found == []


def test_what_is_to_be_done_has_an_issue() -> None:
    places = [path for path in python_files() if path != Path(__file__).resolve()]

    assert matches(_UNNUMBERED, places) == []


def test_no_file_names_a_place_of_one_machine() -> None:
    assert matches(_MACHINE_PATH, committed_files()) == []


def test_no_file_names_a_package_index() -> None:
    assert matches(_INDEX_HOST, committed_files()) == []


def test_each_link_in_a_document_leads_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in committed_files()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]

    assert broken == []


def test_documents_that_the_code_names_exist() -> None:
    named = {
        name
        for path in python_files()
        for name in re.findall(r"docs/[\w/-]+\.md", path.read_text())
    }

    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def words_table(title: str) -> list[str]:
    """Return the bold words in the first column of one section of docs/words.md."""
    text = (ROOT / "docs" / "words.md").read_text()
    section = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (\*\*.+?) \|", section, flags=re.MULTILINE)
    return [word for cell in cells for word in re.findall(r"\*\*(.+?)\*\*", cell)]


@pytest.mark.parametrize("title", ["What there is", "What happens to it", "What carries it"])
def test_words_are_words_of_the_code(title: str) -> None:
    def squeezed(text: str) -> str:
        return re.sub(r"[\s_-]", "", text).lower()

    code = squeezed("".join(path.read_text() for path in (ROOT / "src").rglob("*.py")))
    words = words_table(title)

    assert words
    assert [word for word in words if squeezed(word) not in code] == []
