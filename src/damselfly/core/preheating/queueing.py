"""Which job is next: by priority, then in the order in which they came, in its hours."""

from collections import defaultdict

from damselfly.core.hours import Hours


class JobQueue:
    """Jobs that have something to do."""

    def __init__(self) -> None:
        # {hours: {priority: job ids in order, as keys}}; there are few hours and priorities,
        # so that the next of many thousand jobs is found at once.
        self._waiting: dict[Hours, dict[int, dict[int, None]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        self._places: dict[int, tuple[Hours, int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, job_id: int, *, priority: int, hours: Hours) -> None:
        """A job has something to do; one that is in already goes to its new place."""
        self.discard(job_id)
        self._places[job_id] = (hours, priority)
        self._waiting[hours][priority][job_id] = None

    def discard(self, job_id: int) -> None:
        """A job has nothing to do any more; unknown ones are fine."""
        place = self._places.pop(job_id, None)
        if place is not None:
            hours, priority = place
            del self._waiting[hours][priority][job_id]
            if not self._waiting[hours][priority]:
                del self._waiting[hours][priority]
            if not self._waiting[hours]:
                del self._waiting[hours]

    def next(self, *, minute: int) -> int | None:
        """Return the job that goes next at a minute of the day; it stays in."""
        heads = [
            (-priority, next(iter(jobs)))
            for hours, by_priority in self._waiting.items()
            if minute in hours
            for priority, jobs in by_priority.items()
        ]
        return min(heads)[1] if heads else None
