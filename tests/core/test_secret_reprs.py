"""Guards that what holds a secret does not show it: a repr ends up in logs and tracebacks."""

import pytest

from damselfly.core.task import TaskSpec
from damselfly.wire.local_messages import DownloadRequest
from damselfly.wire.preheat_messages import PreheatRequest
from damselfly.wire.session_messages import Join, Pushed, Warm

SECRET = "h4rm1ess-l00king"
URL = f"https://user:{SECRET}@example.com/f?signature={SECRET}#{SECRET}"


@pytest.mark.parametrize(
    "value",
    [
        TaskSpec(url=URL, headers=(("X-Token", SECRET),)),
        DownloadRequest(url=URL, headers=(f"X-Token: {SECRET}",)),
        Pushed(url=URL, digest="sha256:", headers=(("X-Token", SECRET),)),
        Warm(task_id="0" * 64, url="http://a", token=SECRET),
        PreheatRequest(urls=[URL], headers=[f"X-Token: {SECRET}"]),
        Join(task_id="0" * 64, url=URL, headers=(("X-Token", SECRET),)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_repr_shows_no_secret(value: object) -> None:
    assert SECRET not in f"{value} {value!r} {[value]}"
