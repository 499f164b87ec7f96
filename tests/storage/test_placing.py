"""Guards the hand-over of a finished file: right bytes, nobody else's file touched, no rest."""

import os
import stat
from pathlib import Path

import pytest

from damselfly.errors import OutputError
from damselfly.storage.placing import place
from storage.builders import a_content, files_no_longer_than

CONTENT = a_content(300_000)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    path.chmod(0o600)
    return path


def test_a_content_is_placed_without_a_second_copy_if_possible(
    content: Path, tmp_path: Path
) -> None:
    target = tmp_path / "output"

    how = place(str(content), str(target))

    assert how in {"reflink", "link"}  # one folder, one owner: a copy is never needed
    assert target.read_bytes() == CONTENT
    assert content.read_bytes() == CONTENT


def test_a_link_is_the_contents_own_file_and_anything_else_is_not(
    content: Path, tmp_path: Path
) -> None:
    how = place(str(content), str(tmp_path / "output"))

    assert content.samefile(tmp_path / "output") == (how == "link")


def test_what_is_linked_already_is_not_linked_again(content: Path, tmp_path: Path) -> None:
    os.link(content, tmp_path / "somebody's")

    how = place(str(content), str(tmp_path / "output"))

    assert how in {"reflink", "copy"}
    assert not content.samefile(tmp_path / "output")
    assert (tmp_path / "output").read_bytes() == CONTENT


def test_a_copy_is_made_onto_another_file_system(content: Path) -> None:
    """A link and a reflink end at the border of a file system."""
    shared_memory = Path("/dev/shm")
    target = shared_memory / f"damselfly-test-{os.getpid()}"
    assert shared_memory.stat().st_dev != content.stat().st_dev

    try:
        how = place(str(content), str(target))

        assert how == "copy"
        assert target.read_bytes() == CONTENT
    finally:
        target.unlink()


def test_a_copy_has_the_rights_of_any_new_file(content: Path, tmp_path: Path) -> None:
    os.link(content, tmp_path / "somebody's")
    mask = os.umask(0o027)

    try:
        place(str(content), str(tmp_path / "output"))
    finally:
        os.umask(mask)

    assert stat.S_IMODE((tmp_path / "output").stat().st_mode) == 0o640


def test_an_empty_content_is_placed(content: Path, tmp_path: Path) -> None:
    content.write_bytes(b"")
    os.link(content, tmp_path / "somebody's")

    place(str(content), str(tmp_path / "output"))

    assert (tmp_path / "output").read_bytes() == b""


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_folder_that_is_not_there_is_named(
    content: Path, tmp_path: Path, *, is_linked: bool
) -> None:
    if is_linked:
        os.link(content, tmp_path / "somebody's")

    with pytest.raises(OutputError, match="No such file or directory") as caught:
        place(str(content), str(tmp_path / "nowhere" / "output"))

    assert caught.value.path == str(tmp_path / "nowhere" / "output")


def test_a_content_that_is_gone_leaves_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        place(str(tmp_path / "content"), str(tmp_path / "output"))

    assert list(tmp_path.iterdir()) == []


def test_half_a_copy_is_removed(content: Path, tmp_path: Path) -> None:
    os.link(content, tmp_path / "somebody's")

    with files_no_longer_than(100_000), pytest.raises(OutputError):
        place(str(content), str(tmp_path / "output"))

    assert not (tmp_path / "output").exists()
    assert content.read_bytes() == CONTENT


def test_what_stands_at_the_target_stays(content: Path, tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(b"somebody's work")

    with pytest.raises(OutputError):
        place(str(content), str(tmp_path / "output"))

    assert (tmp_path / "output").read_bytes() == b"somebody's work"


def test_a_symbolic_link_at_the_target_is_not_followed(content: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"somebody's work")
    (tmp_path / "output").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutputError):
        place(str(content), str(tmp_path / "output"))

    assert (tmp_path / "elsewhere").read_bytes() == b"somebody's work"
