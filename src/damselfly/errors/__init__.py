"""Everything that can go wrong, as one tree.

The class of an error answers "what next?"; its fields say to what it happened, and its
message is made from them::

    DamselflyError
    ├── UsageError                   the caller asked for the impossible     tell them
    │   ├── SettingsError            a file, a key, what was expected
    │   ├── TaskSpecError            a URL, digest or header that is none
    │   ├── OutputError              the output path cannot be written
    │   ├── RangeUnsatisfiableError  a range beyond the end of the content
    │   ├── RegistryPathError        a path that no registry has
    │   ├── PlatformMissingError     an image that is not for this platform
    │   ├── TargetEmptyError         a preheat that would go nowhere
    │   ├── JobUnknownError          a preheat job that is none
    │   └── AccessDeniedError        a token or secret that is missing or wrong
    ├── SourceError                  the source
    │   ├── SourceUnreachableError   no answer                               retry, backoff
    │   ├── SourceIllError           it failed too often, and is left alone  tell them
    │   ├── SourceRefusedError       an answer that is a refusal             pass it on
    │   ├── SourceBrokenError        it broke its own promise (length, …)    retry, then give up
    │   └── SourceChangedError       other content than before               start anew, once
    ├── ParentError                  one peer; never reaches the user
    │   ├── ParentUnreachableError   cannot be reached, closed midway        next parent
    │   ├── ParentStalledError       sends nothing any more                  next parent
    │   ├── ParentBusyError          has no slot                             this one later
    │   ├── BlockMissingError        does not hold the block                 next parent
    │   └── BlockCorruptError        sent other bytes than promised          blame this one
    ├── SuperNodeError
    │   ├── SuperNodeUnreachableError                                        go on without
    │   └── TaskRejectedError        the SuperNode will not serve the task   tell them
    ├── DaemonUnreachableError       the daemon's socket does not answer     tell them
    ├── StorageError                 our own disk
    │   ├── StorageFullError         quota or disk full                      evict, then give up
    │   ├── StorageDamagedError      an entry that is not what it was        drop it, refetch
    │   └── StorageUnusableError     folder in use, not ours, not writable   tell them
    ├── NotCachedError               a name of nothing in the cache          tell them
    ├── CacheBusyError               what should leave is in use             later
    ├── NotPermittedError            who asks may not do this                tell them
    ├── DigestMismatchError          the finished whole is wrong             hand nothing out
    ├── NoProviderError              nobody can give the missing blocks      tell them
    ├── DownloadTimeoutError         the user's own limit                    tell them
    ├── FolderIncompleteError        some files of many are missing          tell which
    ├── KeyUnavailableError          a key that encrypts cannot be had       tell them
    ├── AddressInUseError            a port somebody else listens on         tell them
    ├── EngineConfigError            a file of a container engine            tell them
    ├── PluginError                  code of somebody else's failed          tell them
    ├── ProtocolError
    │   ├── LocalProtocolError       we were about to break it: our bug
    │   └── RemoteProtocolError      they broke it                           close, blame
    └── InvalidTransitionError       an event in a state it cannot occur in: our bug

Each leaf that can reach a user of dfget has its own `exit_code` (see docs/running/errors.md).
"""

from collections.abc import Sequence

from damselfly.errors.caches import (
    CacheBusyError as CacheBusyError,
    NotCachedError as NotCachedError,
    NotPermittedError as NotPermittedError,
)
from damselfly.errors.providers import (
    NAME_UNKNOWN as NAME_UNKNOWN,
    BlockCorruptError as BlockCorruptError,
    BlockMissingError as BlockMissingError,
    ParentBusyError as ParentBusyError,
    ParentError as ParentError,
    ParentStalledError as ParentStalledError,
    ParentUnreachableError as ParentUnreachableError,
    SourceBrokenError as SourceBrokenError,
    SourceChangedError as SourceChangedError,
    SourceError as SourceError,
    SourceIllError as SourceIllError,
    SourceRefusedError as SourceRefusedError,
    SourceUnreachableError as SourceUnreachableError,
)
from damselfly.errors.root import DamselflyError as DamselflyError


class UsageError(DamselflyError):
    """The caller asked for something impossible."""

    exit_code = 2
    http_status = 400


class SettingsError(UsageError):
    """A setting cannot be used.

    Attributes:
        where: The file, flag or variable that holds the setting.
        key: Dotted name of the setting.
        expected: What would have been right, in words.
    """

    def __init__(self, *, where: str, key: str, expected: str) -> None:
        self.where, self.key, self.expected = where, key, expected
        super().__init__(f"{where}: {key}: {expected}")


class TaskSpecError(UsageError):
    """What should be downloaded is not described properly.

    Attributes:
        what: The part that is wrong, such as "URL" or "header".
        value: What was given, without secrets.
        expected: What would have been right, in words.
    """

    def __init__(self, *, what: str, value: str, expected: str) -> None:
        self.what, self.value, self.expected = what, value, expected
        super().__init__(f"{what} {value!r} cannot be used: {expected}")


class OutputError(UsageError):
    """The output path cannot be written."""

    exit_code = 3

    def __init__(self, *, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"cannot write {path}: {reason}")


class RangeUnsatisfiableError(UsageError):
    """A range beyond the end of the content.

    Attributes:
        asked: The Range header.
        size_bytes: Length of the content.
    """

    http_status = 416

    def __init__(self, *, asked: str, size_bytes: int) -> None:
        self.asked, self.size_bytes = asked, size_bytes
        super().__init__(f"range {asked!r} is beyond the {size_bytes} bytes of the content")


class RegistryPathError(UsageError):
    """A path of a registry that means nothing.

    Attributes:
        code: As the OCI distribution specification names it.
        reason: In words.
    """

    def __init__(self, *, code: str, reason: str, status: int = 400) -> None:
        self.code, self.reason, self.http_status = code, reason, status
        super().__init__(f"this is not what a registry can be asked for: {reason}")


class PlatformMissingError(UsageError):
    """An image has nothing for a platform.

    Attributes:
        image: URL of its index.
        platform: What was asked for.
        has: What it has, in words.
    """

    http_status = 404

    def __init__(self, *, image: str, platform: str, has: str) -> None:
        self.image, self.platform, self.has = image, platform, has
        super().__init__(f"{image} has nothing for {platform}; it has {has}")


class TargetEmptyError(UsageError):
    """No host that is here is meant by the target of a preheat.

    Attributes:
        target: As it was written.
    """

    def __init__(self, *, target: str) -> None:
        self.target = target
        super().__init__(
            f"target {target} means no host that is here; see GET /api/v1/hosts for those that are"
        )


class JobUnknownError(UsageError):
    """There is no preheat job of this number."""

    http_status = 404

    def __init__(self, *, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"there is no preheat {job_id}; `damselfly preheat ls` shows all")


class AccessDeniedError(UsageError):
    """A token or a secret is missing or wrong."""

    exit_code = 4
    http_status = 401

    def __init__(self, *, what: str, hint: str) -> None:
        self.what = what
        super().__init__(f"{what} is missing or wrong; {hint}")


class SuperNodeError(DamselflyError):
    """The SuperNode cannot help."""

    exit_code = 30
    http_status = 503


class SuperNodeUnreachableError(SuperNodeError):
    """The SuperNode does not answer."""

    exit_code = 31

    def __init__(self, *, address: str, reason: str) -> None:
        self.address, self.reason = address, reason
        super().__init__(f"SuperNode {address} cannot be reached: {reason}")


class TaskRejectedError(SuperNodeError):
    """The SuperNode will not or cannot serve the task."""

    exit_code = 32

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the SuperNode cannot serve this task: {reason}")


class DaemonUnreachableError(DamselflyError):
    """The daemon's socket does not answer."""

    exit_code = 33
    http_status = 503

    def __init__(self, *, socket: str, reason: str) -> None:
        self.socket, self.reason = socket, reason
        super().__init__(f"daemon at {socket} does not answer: {reason}")


class StorageError(DamselflyError):
    """Our own disk failed."""

    exit_code = 40


class StorageFullError(StorageError):
    """There is no room for the content.

    Attributes:
        path: The folder that is full.
        needed_bytes: What was still to be written.
        free_bytes: What could be used, after everything idle had been evicted.
    """

    exit_code = 41
    http_status = 507

    def __init__(self, *, path: str, needed_bytes: int, free_bytes: int) -> None:
        self.path, self.needed_bytes, self.free_bytes = path, needed_bytes, free_bytes
        super().__init__(
            f"no room in {path}: {needed_bytes} bytes needed, {free_bytes} free; "
            "free some space or raise the quota"
        )


class StorageDamagedError(StorageError):
    """An entry on disk is not what it was."""

    exit_code = 42

    def __init__(self, *, path: str, what: str) -> None:
        self.path, self.what = path, what
        super().__init__(f"{path} is damaged: {what}; it is fetched again when next needed")


class StorageUnusableError(StorageError):
    """A data folder cannot be used: not ours, in use, or not writable."""

    exit_code = 43

    def __init__(self, *, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"data folder {path} cannot be used: {reason}")


class DigestMismatchError(DamselflyError):
    """The finished content is not what its digest promises.

    Attributes:
        expected: The digest that was promised.
        actual: The digest of what came.
    """

    exit_code = 50
    http_status = 502

    def __init__(self, *, expected: str, actual: str) -> None:
        self.expected, self.actual = expected, actual
        super().__init__(
            f"the content is {actual}, not {expected} as promised; nothing was handed out"
        )


class NoProviderError(DamselflyError):
    """Nobody can give the missing blocks.

    Attributes:
        missing_count: How many blocks are missing; 0 is not known.
    """

    exit_code = 51
    http_status = 503

    def __init__(self, *, reason: str, missing_count: int = 0) -> None:
        self.missing_count, self.reason = missing_count, reason
        count = f" ({missing_count} blocks)" if missing_count > 1 else ""
        super().__init__(
            f"nobody can give what is missing{count}: {reason}; "
            "run the same command again to resume"
        )


class DownloadTimeoutError(DamselflyError):
    """The download took longer than the user allows."""

    exit_code = 52
    http_status = 504

    def __init__(self, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(
            f"not finished after {timeout_s:g} s; run the same command again to resume"
        )


class KeyUnavailableError(DamselflyError):
    """A key that is needed to encrypt or to read a content cannot be had.

    Attributes:
        key: Its name, or of what it is the key.
    """

    exit_code = 53
    http_status = 503

    def __init__(self, *, key: str, reason: str) -> None:
        self.key, self.reason = key, reason
        super().__init__(f"{key} cannot be had: {reason}")


class FolderIncompleteError(DamselflyError):
    """Some files of a folder could not be had; the others are there.

    Attributes:
        path: The folder.
        missing_count: How many are missing ...
        file_count: ... of how many.
        first: One of them, and why.
    """

    exit_code = 54

    def __init__(self, *, path: str, missing_count: int, file_count: int, first: str) -> None:
        self.path, self.missing_count, self.file_count = path, missing_count, file_count
        self.first = first
        super().__init__(
            f"{missing_count} of {file_count} files are missing in {path}, such as {first}; "
            "run the same command again to get them"
        )


class AddressInUseError(DamselflyError):
    """Somebody else listens on the address."""

    exit_code = 60

    def __init__(self, *, address: str, reason: str) -> None:
        self.address, self.reason = address, reason
        super().__init__(f"cannot listen on {address}: {reason}")


class EngineConfigError(DamselflyError):
    """A container engine's configuration cannot be read or written.

    Attributes:
        path: The file.
    """

    exit_code = 61

    def __init__(self, *, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


class PluginError(DamselflyError):
    """A plug-in failed: it is not there, it raised, it hung, or it broke its promise.

    Attributes:
        plugin: What it is and its name, such as `cipher aes-256-gcm`.
    """

    exit_code = 62

    def __init__(self, *, plugin: str, reason: str) -> None:
        self.plugin, self.reason = plugin, reason
        super().__init__(f"plug-in {plugin} {reason}")


class ProtocolError(DamselflyError):
    """Somebody broke a protocol."""

    exit_code = 70


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """The other side broke the protocol: close, and blame it."""

    http_status = 400


class InvalidTransitionError(DamselflyError):
    """An event came in a state in which it cannot occur: a bug of ours.

    Attributes:
        story: The last events of the machine, oldest first.
    """

    exit_code = 71

    def __init__(self, *, subject: str, state: str, event: str, story: Sequence[str] = ()) -> None:
        self.subject, self.state, self.event, self.story = subject, state, event, tuple(story)
        super().__init__(f"{subject}: {event} in state {state}; before: {'; '.join(story)}")
