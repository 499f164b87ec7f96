"""From a name to the contents to warm: which manifest a tag means, and what that names.

Manifests come through the SuperNode's own cache, so that reading them makes them warm, and a
job whose registry is down goes on with those that are here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from damselfly.core.blocks import Span
from damselfly.core.bundling import BundleAddress, split
from damselfly.core.digest import Digest
from damselfly.core.preheating.jobs import Content, Kind, Wanted
from damselfly.core.preheating.platforms import Platform
from damselfly.core.task import Headers, TaskSpec
from damselfly.errors import (
    DamselflyError,
    PlatformMissingError,
    RemoteProtocolError,
    SourceBrokenError,
    SourceRefusedError,
)
from damselfly.services.preheating.bodies import read_body
from damselfly.services.preheating.logins import Logins
from damselfly.services.preheating.swarm import Seeder
from damselfly.services.registries import Registries, Registry
from damselfly.services.seeding.pacing import Pace
from damselfly.transport.sources.checksums import digest_told
from damselfly.transport.sources.http import HttpSource
from damselfly.wire.hashing import new_hasher
from damselfly.wire.image_names import ImageName, parse_image_name
from damselfly.wire.listings import decode_listing
from damselfly.wire.manifest_children import MANIFEST_TYPES, Descriptor, children_of
from damselfly.wire.manifests import MANIFEST_BYTES_MAX
from damselfly.wire.registry_paths import Kind as PathKind, RegistryPath, parse_registry_path

ACCEPT: Final = ", ".join(MANIFEST_TYPES)
OK: Final = 200
INDEXES_MAX: Final = 4  # an index of indexes of indexes


@dataclass(frozen=True, slots=True)
class Place:
    """A repository of a registry, and what it is shown.

    Attributes:
        base: URL of the registry.
    """

    registry: Registry
    base: str
    headers: Headers

    def content(self, name: str, kind: PathKind, each: Descriptor, what: str) -> Content:
        """Return a content of the repository."""
        path = RegistryPath(kind=kind, name=name, digest=each.digest)
        return Content(
            url=self.registry.url(self.base, path),
            what=what,
            digest=str(each.digest),
            accept=ACCEPT if kind is PathKind.MANIFEST else "",
            size_bytes=each.size_bytes,
        )


class Resolving:
    """Finds out what a job is about."""

    def __init__(
        self, registries: Registries, logins: Logins, *, source: HttpSource, seeder: Seeder
    ) -> None:
        self._registries = registries
        self._logins = logins
        self._source = source
        self._seeder = seeder

    async def contents(self, wanted: Wanted, headers: Headers, pace: Pace) -> list[Content]:
        """Return all contents of a job.

        Args:
            wanted: What it is about.
            headers: What sources are shown; empty: what the settings have.
            pace: Of the manifests that are read.

        Raises:
            DamselflyError: They cannot be known.
        """
        contents: list[Content] = []
        if wanted.kind is not Kind.IMAGE:
            for name in wanted.names:
                if wanted.kind is Kind.FILE and name.endswith("/"):
                    contents += await self._folder(name, headers, pace)
                else:
                    contents.append(Content(url=name, what=str(wanted.kind), digest=wanted.digest))
            return contents
        platforms = tuple(Platform.parse(each) for each in wanted.platforms)
        for name in wanted.names:
            contents += await self._image(parse_image_name(name), platforms, headers, pace)
        return contents

    async def _folder(self, url: str, headers: Headers, pace: Pace) -> list[Content]:
        """Return what `dfget --recursive` would ask for: the listing, bundles, large files."""
        spec = TaskSpec(url=f"list+{url}", headers=headers)
        try:
            members = decode_listing(await self._read_short(spec, pace))
        except RemoteProtocolError as exc:
            raise SourceBrokenError(url=spec.display_url, reason=str(exc)) from exc
        wanted = split(members, include=(), exclude=())
        address = BundleAddress(folder_url=url)
        bundles = [replace(address, number=number).url for number in range(len(wanted.bundles))]
        return [
            Content(url=spec.url, what="listing"),
            *(Content(url=each, what="bundle") for each in bundles),
            *(
                Content(
                    url=each.url,
                    what="file",
                    digest=each.digest,
                    size_bytes=-1 if each.size_bytes is None else each.size_bytes,
                )
                for each in wanted.alone
            ),
        ]

    async def headers_of(self, content: Content) -> Headers:
        """Return what the source of a content is shown, if it is a registry."""
        try:
            place, path = self._place_of_url(content.url)
        except DamselflyError:
            return ()
        return await self._logins.headers_for(place.registry, place.base, path)

    def _place_of_url(self, url: str) -> tuple[Place, RegistryPath]:
        base, found, rest = url.partition("/v2/")
        path = parse_registry_path(f"{found}{rest}")
        registry = self._registries.find(base.partition("://")[2])
        return Place(registry, base, ()), path

    async def _image(
        self, image: ImageName, platforms: tuple[Platform, ...], headers: Headers, pace: Pace
    ) -> list[Content]:
        registry = self._registries.find(image.registry)
        # What a URL says is how whoever sent it reaches the registry, unless the settings know.
        base = registry.bases[-1] if registry.is_listed or not image.base else image.base
        headers = headers or await self._logins.headers_for(registry, base, image.path)
        place = Place(registry, base, headers)
        digest = image.path.digest or await self._meaning(place, image.path)
        root = place.content(
            image.path.name, PathKind.MANIFEST, Descriptor(digest=digest), "manifest"
        )
        try:
            return await self._below(place, image.path.name, root, platforms, pace)
        except RemoteProtocolError as exc:
            raise SourceBrokenError(url=root.url, reason=str(exc)) from exc

    async def _meaning(self, place: Place, path: RegistryPath) -> Digest:
        """Return what a tag means now.

        Raises:
            SourceError: The registry does not say.
        """
        url = place.registry.url(place.base, path)
        spec = TaskSpec(url=url, headers=(*place.headers, ("Accept", ACCEPT)))
        for method in ("HEAD", "GET"):  # some do not tell digests, and some have no HEAD
            told = await self._source.ask(method, spec, {})
            try:
                if told.status != OK and method == "GET":
                    raise SourceRefusedError(url=spec.display_url, status=told.status)
                if told.status == OK and (digest := digest_told(told.headers)):
                    return digest
                if method == "GET":
                    body = await read_body(told, spec, bytes_max=MANIFEST_BYTES_MAX)
                    hasher = new_hasher("sha256")
                    hasher.update(body)
                    return Digest("sha256", hasher.hexdigest())
            finally:
                told.close()
        raise AssertionError

    async def _below(
        self, place: Place, name: str, root: Content, platforms: tuple[Platform, ...], pace: Pace
    ) -> list[Content]:
        """Return a manifest and all that it names, for some platforms or all."""
        contents: list[Content] = []
        manifests = [root]
        for depth in range(INDEXES_MAX):
            images: list[Descriptor] = []
            for manifest in manifests:
                children = children_of(await self._read(place, manifest, pace))
                contents.append(manifest)
                images += children.images
                contents += [
                    place.content(
                        *(name, PathKind.BLOB, each),
                        what="config" if each is children.config else "layer",
                    )
                    for each in children.blobs
                ]
            if not images:
                break
            if not depth:
                images = _chosen(root.url, images, platforms)
            manifests = [
                place.content(name, PathKind.MANIFEST, each, "manifest") for each in images
            ]
        return contents

    async def _read(self, place: Place, manifest: Content, pace: Pace) -> bytes:
        """Return a manifest, which is warm from then on."""
        spec = TaskSpec(
            url=manifest.url,
            digest=Digest.parse(manifest.digest),
            headers=(*place.headers, ("Accept", ACCEPT)),
        )
        return await self._read_short(spec, pace)

    async def _read_short(self, spec: TaskSpec, pace: Pace) -> bytes:
        """Return a short content, which is warm from then on."""
        entry = await self._seeder.seed(spec, pace)
        try:
            size = entry.edition.size_bytes or 0
            if size > MANIFEST_BYTES_MAX:
                raise RemoteProtocolError(f"{size} bytes, where a short content is expected")
            return entry.read_span(Span(0, size))
        finally:
            entry.unpin()


def _chosen(
    url: str, images: Iterable[Descriptor], platforms: tuple[Platform, ...]
) -> list[Descriptor]:
    """Return the images that are wanted.

    Raises:
        PlatformMissingError: There is none for a platform.
    """
    images = list(images)
    if not platforms:
        return images
    there = [each for each in images if each.platform is not None]
    chosen: list[Descriptor] = []
    for platform in platforms:
        found = [each for each in there if each.platform and platform.is_met_by(each.platform)]
        if not found:
            has = ", ".join(sorted({str(each.platform) for each in there})) or "none"
            raise PlatformMissingError(image=url, platform=str(platform), has=has)
        chosen += found
    return list(dict.fromkeys(chosen))
