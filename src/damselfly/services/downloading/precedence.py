"""Which downloads of a host go before which: what their requesters said, told to the minds."""

from collections.abc import Mapping, Sequence

from damselfly.core.downloading import events as core
from damselfly.core.downloading.sharing import highest, steps_below
from damselfly.services.downloading.download_run import DownloadRun
from damselfly.wire.local_messages import DownloadRequest


def tell_precedence(waiting: Mapping[DownloadRun, Sequence[DownloadRequest]]) -> None:
    """Tell each run by how much others are more urgent; one that has ended holds up nobody.

    A run is as urgent as the most urgent of the requests that wait for it.
    """
    running = {
        run: highest(request.priority for request in requests)
        for run, requests in waiting.items()
        if requests and not run.outcome.done()
    }
    for run, priority in running.items():
        run.handle(core.Outranked(steps=steps_below(priority, running.values())))
