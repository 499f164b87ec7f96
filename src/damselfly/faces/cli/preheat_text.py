"""A preheat job in lines of text."""

from collections.abc import Iterator
from typing import Any, Final

from damselfly.faces.cli.progress import size_text

DIGEST_CHARS: Final = 19  # sha256: and twelve digits tell layers of one image apart


def job_line(job: dict[str, Any]) -> str:
    """Return a job in one line."""
    names = ", ".join(job["names"][:3]) + (", …" if len(job["names"]) > 3 else "")  # noqa: PLR2004
    parts = [f"{job['id']:>4}  {job['state']:<9}  {names} → {job['target']}"]
    if job["content_count"]:
        parts.append(f"{job['content_done_count']}/{job['content_count']} contents")
        parts.append(f"{size_text(job['done_bytes'])} of {size_text(job['size_bytes'])}")
    if job["cron"]:
        parts.append(f"again at '{job['cron']}'")
    return ", ".join(parts) + (f": {job['error']}" if job["error"] else "")


def job_lines(job: dict[str, Any]) -> Iterator[str]:
    """Yield a job, and each of its contents at each place."""
    yield job_line(job)
    for content in job["contents"]:
        name = content["digest"][:DIGEST_CHARS] or content["url"]
        for place in content["places"]:
            size = max(place["size_bytes"], 0)
            line = (
                f"      {content['what']:<8}  {name}  {place['place']:<12}  {place['state']:<9}  "
                f"{size_text(place['done_bytes'])} of {size_text(size)}"
            )
            yield line + (f": {place['error']}" if place["error"] else "")
