"""docs/running/errors.md lists every error with its exit code."""

import re
from pathlib import Path

from damselfly import errors

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "running" / "errors.md"


def test_each_error_is_documented_with_its_exit_code() -> None:
    tree = [
        (value.exit_code, name)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.DamselflyError)
    ]

    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", DOCUMENT.read_text(), flags=re.MULTILINE)

    assert sorted((int(code), name) for code, name in rows) == sorted(tree)
