"""How long the source is read on for a content that nobody wants any more.

An engine that was cancelled tries again after seconds, and so does somebody whose network broke;
they find the reading going on. A user who has thought better of 100 GB does not, and the rest would
cost the source, its link, and what is evicted for it here. What was read is kept, so that to
stop early costs one more request when somebody wants it after all.
"""

from collections.abc import Iterable

from damselfly.core.task import TaskId

READ_ON_S = 60.0


class Lingering:
    """The tasks that are read although nobody wants them."""

    def __init__(self, *, read_on_s: float) -> None:
        """Make it; 0: they are read to their ends."""
        self._read_on_s = read_on_s
        self._since_s: dict[TaskId, float] = {}  # when each was first seen to be one

    def due(self, unwanted: Iterable[TaskId], *, now_s: float) -> list[TaskId]:
        """Take in which tasks nobody wants now; return those that are to be read no further."""
        self._since_s = {task_id: self._since_s.get(task_id, now_s) for task_id in unwanted}
        if not self._read_on_s:
            return []
        limit_s = now_s - self._read_on_s
        return [task_id for task_id, since_s in self._since_s.items() if since_s <= limit_s]
