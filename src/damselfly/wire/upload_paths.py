"""The paths by which something is put into a registry, such as `/v2/<name>/blobs/uploads/<id>`."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from damselfly.wire.registry_paths import Kind, RegistryPath, parse_registry_path

# An id is the registry's own; most are UUIDs, some are long.
_UPLOAD: Final = re.compile(r"/v2/(.+)/(blobs/uploads/(?!\.{1,2}$)[A-Za-z0-9._~=+:-]{0,900})")


@dataclass(frozen=True, slots=True)
class PushPath:
    """Something that is put into a repository.

    Attributes:
        repository: By the name that the path has; as a path of its tags.
        rest: What follows the name: `blobs/uploads/…`, `manifests/…`, `blobs/…`.
        is_upload: A blob is on its way.
    """

    repository: RegistryPath
    rest: str
    is_upload: bool = False


def parse_push_path(path: str) -> PushPath:
    """Return what a path is about.

    Raises:
        RegistryPathError: Nothing that could be pushed.
    """
    if match := _UPLOAD.fullmatch(path):
        return PushPath(parse_registry_path(f"/v2/{match[1]}/tags/list"), match[2], is_upload=True)
    meant = parse_registry_path(path)
    tags = RegistryPath(kind=Kind.TAGS, name=meant.name)
    rest = str(meant).removeprefix(f"/v2/{meant.name}/") if meant.name else ""
    return PushPath(tags, rest)


def is_upload_path(path: str) -> bool:
    """Say whether a path is of a blob on its way."""
    return _UPLOAD.fullmatch(path) is not None


def location_here(location: str, *, base: str, theirs: str, ours: str, registry: str) -> str:
    """Return where a client goes on with a push so that it comes back here.

    A place that is not in the repository at the registry, such as an object store, stays.

    Args:
        location: As the registry told it.
        base: URL of the registry.
        theirs: Path of the repository there, such as `/v2/project/app/`.
        ours: The same here.
        registry: Name of the registry, to be named again by `ns`; empty: the path says it.
    """
    parts, home = urlsplit(location), urlsplit(base)
    is_there = not parts.netloc or parts.netloc == home.netloc
    if not is_there or not parts.path.startswith(theirs):
        return location
    query = "&".join(each for each in (parts.query, registry and f"ns={registry}") if each)
    return ours + parts.path.removeprefix(theirs) + (f"?{query}" if query else "")
