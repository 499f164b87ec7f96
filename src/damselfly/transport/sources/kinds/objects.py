"""Object stores by obstore: `s3://`, `gs://` and `az://`. The border where its errors end."""

import asyncio
import re
from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from damselfly.core.members import Member
from damselfly.core.task import TaskSpec, Validators
from damselfly.errors import (
    NAME_UNKNOWN,
    DamselflyError,
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
    TaskSpecError,
)
from damselfly.transport.provider import SourceAnswer, Turn
from damselfly.transport.sources.accounts import AccountOptions, Accounts
from damselfly.transport.sources.chunks import PIECE_BYTES, ChunkReading
from damselfly.transport.sources.http import HttpSource
from damselfly.transport.sources.kinds.buckets import Bucket, bucket_of, name_of
from damselfly.transport.sources.kinds.object_sums import ObjectSums, Sums

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES: Final = ("s3", "gs", "az")
OK, PARTIAL, NOT_FOUND, PRECONDITION_FAILED = 200, 206, 404, 412
STORES_MAX: Final = 64  # one per bucket and requester; each has connections
HEADS_AT_A_TIME: Final = 8
LIST_CHUNK: Final = 1000  # what a store answers with at a time
_STATUSES: Final = {
    "NotFoundError": NOT_FOUND,
    "PermissionDeniedError": 403,
    "UnauthenticatedError": 401,
    "PreconditionError": PRECONDITION_FAILED,
}
_STATUS: Final = re.compile(r"status(?: code)?:? (\d{3})")


class ObjectSource:
    """Buckets of one kind of store."""

    def __init__(
        self,
        http: HttpSource,
        accounts: Accounts,
        *,
        connect_timeout_s: float,
        stall_timeout_s: float,
    ) -> None:
        self._accounts = accounts
        self._sums = ObjectSums(http, patience_s=connect_timeout_s)
        self._connect_s = connect_timeout_s
        self._stall_s = stall_timeout_s
        # The least used first; it holds secrets.
        self._stores: OrderedDict[Bucket, ObjectStore] = OrderedDict()

    async def close(self) -> None:
        """Forget all stores; their connections end with them."""
        self._stores.clear()

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> ChunkReading:
        """Ask for an object, or a part of it; see `provider.Source`."""
        is_part = start_byte > 0 or stop_byte is not None
        options: dict[str, Any] = {}
        if is_part:
            part = (start_byte, stop_byte) if stop_byte is not None else {"offset": start_byte}
            options = {"range": part}
            if validators.etag:
                options["if_match"] = validators.etag
        asking = asyncio.ensure_future(self._sums_of(spec, is_part=is_part))
        try:
            result = await self._ask(spec, options)
            sums = await asking
        except SourceRefusedError as exc:
            if not is_part or exc.status != PRECONDITION_FAILED:
                raise
            return await self.read(spec)  # it has changed: all of what is there now
        finally:
            asking.cancel()
        meta, (first, stop) = result.meta, result.range
        if sums.etag != meta.get("e_tag"):
            sums = Sums()  # of another version
        answer = SourceAnswer(
            status=PARTIAL if is_part else OK,
            size_bytes=meta["size"],
            start_byte=first,
            stop_byte=stop,
            validators=_validators(meta),
            digest=sums.digest,
            checksum=sums.checksum,
            accepts_ranges=True,
        )
        pieces = result.stream(min_chunk_size=PIECE_BYTES).__aiter__()
        return ChunkReading(
            answer,
            pieces,
            url=spec.display_url,
            stall_s=self._stall_s,
            why=lambda exc: _told(spec, exc),
        )

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:  # noqa: ARG002  # compared by who asks
        """Ask whether the store still has this version; see `provider.Source`."""
        return await self.authorise(spec)

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Ask for the head of an object; see `provider.Source`."""
        try:
            meta = (await self._ask(spec, {"head": True})).meta
        except SourceRefusedError as exc:
            return SourceAnswer.of_refusal(exc)
        return SourceAnswer(
            status=OK, size_bytes=meta["size"], validators=_validators(meta), accepts_ranges=True
        )

    async def list_below(self, spec: TaskSpec, *, turn: Turn = nullcontext) -> list[Member]:
        """List the objects whose keys begin as the URL says; see `KindOfSource`."""
        name, (scheme, bucket) = name_of(spec), urlsplit(spec.url)[:2]
        if name.version:
            expected = "a version is one of an object, and not of what lies below an address"
            raise TaskSpecError(what="URL", value=spec.display_url, expected=expected)
        prefix = name.key
        members = []
        try:
            pages = self._store(spec).list(prefix or None, chunk_size=LIST_CHUNK).__aiter__()
            while True:
                async with turn():
                    metas = await anext(pages, None)
                if metas is None:
                    break
                for meta in metas:
                    key = meta["path"]
                    path = key.removeprefix(prefix.rstrip("/")).lstrip("/") or key
                    told = _validators(meta)
                    members.append(
                        Member(
                            path=path,
                            url=f"{scheme}://{bucket}/{quote(key)}",
                            size_bytes=meta["size"],
                            version=told.etag or told.last_modified,
                        )
                    )
        except Exception as exc:
            raise _told(spec, exc) from exc
        if prefix and not members:  # there are no empty folders in a bucket
            raise SourceRefusedError(url=spec.display_url, status=NOT_FOUND)
        try:
            return await self._without_marks(spec, members, turn)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _without_marks(
        self, spec: TaskSpec, members: list[Member], turn: Turn
    ) -> list[Member]:
        """Leave out what marks a folder, an empty object `a/`, which the library calls `a`."""
        above: set[str] = set()
        for member in members:
            folder = member.path.rpartition("/")[0]
            while folder and folder not in above:
                above.add(folder)
                folder = folder.rpartition("/")[0]
        empty = [member for member in members if not member.size_bytes]
        doubtful = [member for member in empty if member.path not in above]
        at_once = asyncio.Semaphore(HEADS_AT_A_TIME)

        async def is_there(member: Member) -> bool:
            async with at_once, turn():
                answer = await self.authorise(replace(spec, url=member.url))
            return answer.status != NOT_FOUND

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(is_there(member)) for member in doubtful]
        real = {each.path for each, task in zip(doubtful, asked, strict=True) if task.result()}
        return [member for member in members if member.size_bytes or member.path in real]

    async def _sums_of(self, spec: TaskSpec, *, is_part: bool) -> Sums:
        if is_part:
            return Sums()
        return await self._sums.ask(
            bucket_of(spec, self._accounts), name_of(spec), partial(self._store, spec)
        )

    async def _ask(self, spec: TaskSpec, options: dict[str, Any]) -> Any:  # noqa: ANN401
        name = name_of(spec)
        if not name.key:
            expected = "it names a bucket and no object; --recursive is for all that is in it"
            raise TaskSpecError(what="URL", value=spec.display_url, expected=expected)
        if name.version:
            options["version"] = name.version
        try:
            async with asyncio.timeout(self._stall_s):
                result = await self._store(spec).get_async(name.key, options=options)  # type: ignore[arg-type]
        except TimeoutError as exc:
            raise SourceUnreachableError(url=spec.display_url, reason="no answer in time") from exc
        except DamselflyError:
            raise
        except Exception as exc:  # the library's errors have no common name of ours
            raise _told(spec, exc) from exc
        if not name.is_of(result.meta.get("version")):
            expected = "it names a version, and its store answers without one, or with another"
            raise TaskSpecError(what="URL", value=spec.display_url, expected=expected)
        return result

    def _store(self, spec: TaskSpec) -> "ObjectStore":
        bucket = bucket_of(spec, self._accounts)
        store = self._stores.pop(bucket, None) or _open(
            bucket, client=self._client_options(bucket.account)
        )
        self._stores[bucket] = store
        if len(self._stores) > STORES_MAX:
            self._stores.popitem(last=False)
        return store

    def _client_options(self, account: AccountOptions) -> dict[str, Any]:
        options: dict[str, Any] = {
            "allow_http": account.endpoint.startswith("http://"),
            "allow_invalid_certificates": account.insecure,
            "connect_timeout": timedelta(seconds=self._connect_s),
            "timeout": timedelta(days=1),  # of a whole body; how long one may stall is our own
        }
        if account.ca_file:
            options["root_certificate"] = Path(account.ca_file).read_bytes()
        return options


def _open(bucket: Bucket, *, client: dict[str, Any]) -> "ObjectStore":
    from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415  # 40 ms, seldom

    user, password, token = bucket.user, bucket.password, bucket.token
    account = bucket.account
    # Who asks again, and when, is decided by us.
    shared: dict[str, Any] = {"client_options": client, "retry_config": {"max_retries": 0}}
    config: dict[str, Any] = {"skip_signature": bucket.is_for_anybody}
    if bucket.scheme == "s3":
        config |= {
            "region": account.region,
            "virtual_hosted_style_request": not account.path_style,
        }
        _put(config, endpoint=account.endpoint, session_token=token)
        _put(config, access_key_id=user, secret_access_key=password)
        return S3Store(bucket.name, config=config, **shared)  # type: ignore[arg-type]
    if bucket.scheme == "gs":
        _put(config, base_url=account.endpoint)
        if token.startswith("{"):
            config["service_account_key"] = token
        else:
            _put(config, bearer_token=token)
        return GCSStore(bucket.name, config=config, **shared)  # type: ignore[arg-type]
    _put(config, endpoint=account.endpoint, account_name=user, account_key=password, sas_key=token)
    return AzureStore(bucket.name, config=config, **shared)  # type: ignore[arg-type]


def _put(config: dict[str, Any], **values: str) -> None:
    config.update({name: value for name, value in values.items() if value})


def _validators(meta: Any) -> Validators:  # noqa: ANN401
    modified: datetime = meta["last_modified"]
    return Validators(
        etag=meta.get("e_tag") or "", last_modified=format_datetime(modified, usegmt=True)
    )


def _told(spec: TaskSpec, exc: Exception) -> DamselflyError:
    """Return an error of obstore as one of ours; its text may hold a signed URL."""
    url, name, text = spec.display_url, type(exc).__name__, str(exc)
    if isinstance(exc, DamselflyError):
        return exc
    if isinstance(exc, ImportError):
        expected = "it needs the package obstore, which is not installed here"
        return TaskSpecError(what="URL", value=url, expected=expected)
    if name in _STATUSES:
        return SourceRefusedError(url=url, status=_STATUSES[name])
    if match := _STATUS.search(text):
        return SourceRefusedError(url=url, status=int(match[1]))
    if "redirect without LOCATION" in text:
        reason = "it is in another region; set the region of its account"
        return SourceUnreachableError(url=url, reason=reason)
    return _unreachable(url, text)


def _unreachable(url: str, text: str) -> SourceError:
    for words, reason in (
        ("dns", NAME_UNKNOWN),
        ("refused", "connection refused"),
        ("timed out", "no answer in time"),
        ("certificate", "its certificate is not trusted"),
    ):
        if words in text.lower():
            return SourceUnreachableError(url=url, reason=reason)
    return SourceUnreachableError(url=url, reason="the request to the object store failed")
