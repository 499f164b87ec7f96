"""Plug-ins that a test installs are its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.plugin_packages import OnPath


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[OnPath]:
    """Give what puts a folder onto the path; modules from there are forgotten with the test.

    Plug-ins of the next test may be called the same, and Python would give it these.
    """
    folders = set[str]()

    def put(folder: Path) -> None:
        monkeypatch.syspath_prepend(folder)
        folders.add(str(folder))

    yield put
    for name, module in [*sys.modules.items()]:
        path = getattr(module, "__file__", None)
        if path and str(Path(path).parent) in folders:
            del sys.modules[name]
