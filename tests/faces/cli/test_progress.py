"""Guards what dfget draws while it waits."""

import pytest

from damselfly.faces.cli.progress import Bar
from damselfly.wire.local_messages import DownloadProgress, ProviderBytes


def test_a_note_is_shown_to_the_letter(capsys: pytest.CaptureFixture[str]) -> None:
    # Taken for the markup of rich, this one ended dfget.
    note = "source http://a/[/b] cannot be reached"
    progress = DownloadProgress(
        state="fetching", size_bytes=10, bytes_by=ProviderBytes(), parent_count=0, note=note
    )

    with Bar() as bar:
        bar.show(progress)

    assert note in capsys.readouterr().err
