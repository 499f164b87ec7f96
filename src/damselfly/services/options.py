"""What can be set about the services; each default stands here and nowhere else."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from damselfly.core.blocks import USUAL_LINK_BYTES_PER_S
from damselfly.core.budgeting import BudgetRule
from damselfly.core.caching.freshness import StalePolicy
from damselfly.core.caching.imports import ImportPolicy
from damselfly.core.hours import Hours
from damselfly.core.preheating.platforms import Platform
from damselfly.core.preheating.targets import Target, is_label
from damselfly.core.proxying.encrypting import EncryptRule
from damselfly.core.proxying.networks import Networks
from damselfly.core.proxying.rules import RULES_MAX, USUAL_RULES, ProxyRule
from damselfly.core.scheduling.lingering import READ_ON_S
from damselfly.core.topology import Location
from damselfly.core.urls import PORT_MAX, WEB, is_host_port, normalise_url
from damselfly.errors import UsageError
from damselfly.transport.sources.accounts import AccountOptions
from damselfly.wire.registry_paths import parse_registry_name


def _require(condition: bool, text: str) -> None:  # noqa: FBT001
    if not condition:
        raise ValueError(text)


def _require_address(key: str, value: str, *, is_listening: bool = False) -> None:
    text = f"{key} must be host:port, such as 10.0.0.1:8002, and not {value!r}"
    _require(is_host_port(value, is_listening=is_listening), text)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """How much of the disk the cache may use.

    Attributes:
        quota_bytes: The cache evicts idle content, least recently used first, to stay
            below; 0 is no limit but the reserve.
        reserve_bytes: Left free for everybody else on the disk.
        ttl_s: What nobody used for so long leaves, whether there is room or not; 0 is no limit.
        scrub_rate_bytes_per_s: Content that nobody uses is read again at this rate, and what is
            wrong is fetched again from the swarm; 0 is never.
        scrub_pause_s: From the end of one such pass over the cache to the next one.
    """

    quota_bytes: int = 0
    reserve_bytes: int = 1 << 30  # log files and package managers need some too
    ttl_s: float = 0.0
    scrub_rate_bytes_per_s: float = float(2 << 20)  # 1 TiB in six days, 1 % of a slow disk
    scrub_pause_s: float = 7 * 86400.0

    def __post_init__(self) -> None:
        _require(self.quota_bytes >= 0, "quota_bytes must not be negative")
        _require(self.reserve_bytes >= 0, "reserve_bytes must not be negative")
        _require(self.ttl_s >= 0, "ttl_s must not be negative")
        _require(self.scrub_rate_bytes_per_s >= 0, "scrub_rate must not be negative")
        _require(self.scrub_pause_s >= 0, "scrub_pause_s must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How sources are asked.

    Attributes:
        freshness_window_s: A source that confirmed an edition is not asked again sooner.
        negative_window_s: A 404 is remembered that long.
        access_window_s: Credentials that a source accepted for a task are not asked about
            again sooner.
        serve_stale: Whether a cached content is handed out although its source did not confirm
            it: `never`, `unreachable` (if the source gives no answer at all), or `always` (also
            if it answers with an error). It is told as stale then.
        connections_max: Requests to one source host at a time; a fifth of them is for what is no
            large content, and 16 parts at a time give what a source has (bench/sources.py).
        rate_bytes_per_s: Limit for one source host; 0 is none.
        fallbacks_max: Hosts that may go to the source themselves for one task at a time.
        connect_timeout_s: A source that does not accept a connection is unreachable.
        stall_timeout_s: A source that sends nothing for so long is asked again.
        retries_max: Attempts after the first, each after a longer pause.
        ca_file: Certificates to trust besides the system's; empty is none.
        netrc_file: File with users and passwords of HTTP hosts, as curl reads it.
        hub_endpoint: The hub that `hf://` means; empty: the public one.
        folders: Folders of this machine from which `file://` may be read, by everybody.
        accounts: As whom sources are asked, and where; see `AccountOptions`.
        budgets: Connections and bytes per second for hosts of sources; see `BudgetRule`.
        ill_after: Failures in a row after which a source is left alone; 0 is never.
        ill_pause_s: For how long at first; each time it fails again, for twice as long.
    """

    freshness_window_s: float = 10.0
    negative_window_s: float = 2.0
    access_window_s: float = 60.0
    serve_stale: StalePolicy = StalePolicy.NEVER
    connections_max: int = 20
    rate_bytes_per_s: float = 0.0
    fallbacks_max: int = 2
    connect_timeout_s: float = 5.0
    stall_timeout_s: float = 15.0
    retries_max: int = 4
    ca_file: str = ""
    netrc_file: str = ""
    hub_endpoint: str = ""
    folders: tuple[str, ...] = ()
    accounts: tuple[AccountOptions, ...] = ()
    budgets: tuple[BudgetRule, ...] = ()
    ill_after: int = 8
    ill_pause_s: float = 5.0

    def __post_init__(self) -> None:
        _require(self.ill_after >= 0, "ill_after must not be negative")
        _require(self.ill_pause_s > 0, "ill_pause_s must be positive")
        _require(all(each.match for each in self.accounts), "each of accounts needs a match")
        _require(all(each.startswith("/") for each in self.folders), "folders begin with /")
        _require(self.freshness_window_s >= 0, "freshness_window_s must not be negative")
        _require(self.connections_max >= 1, "connections_max must be at least 1")
        _require(self.fallbacks_max >= 0, "fallbacks_max must not be negative")
        _require(self.connect_timeout_s > 0, "connect_timeout_s must be positive")
        _require(self.stall_timeout_s > 0, "stall_timeout_s must be positive")
        _require(self.retries_max >= 0, "retries_max must not be negative")
        try:
            if self.hub_endpoint:
                normalise_url(self.hub_endpoint, schemes=WEB)
        except UsageError as exc:
            raise ValueError(f"hub_endpoint: {exc}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryOptions:
    """A registry that is not simply at `https://NAME`.

    Attributes:
        name: As image names have it: `docker.io`, `registry.example:5000`.
        url: Where it is reached; empty: `https://NAME`, on loopback `http://NAME`.
        mirrors: URLs of other registries with the same contents, which are asked first.
        prefix: Goes before the name of each repository: a project, a path in a proxy cache.
        ca_file: Certificates to trust there besides the system's; empty is none.
        insecure: Its certificate is not checked at all.
        auth_file: File with `user:password`, or a token alone, with which preheats read there;
            for the SuperNode.
    """

    name: str = ""
    url: str = ""
    mirrors: tuple[str, ...] = ()
    prefix: str = ""
    ca_file: str = ""
    insecure: bool = False
    auth_file: str = ""

    def __post_init__(self) -> None:
        for url in (*self.mirrors, *([self.url] if self.url else [])):
            normalise_url(url, schemes=WEB)
        if self.name:
            parse_registry_name(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorOptions:
    """The registry mirror.

    Attributes:
        default: The registry that is meant when a request names none.
        serve_stale_tags: A tag whose registry gives no answer is answered with what it last
            was here; see docs/running/registry-mirror.md.
        pushes: What is pushed to the mirror is passed on to its registry, and preheated.
    """

    default: str = "docker.io"
    serve_stale_tags: bool = False
    pushes: bool = True

    def __post_init__(self) -> None:
        parse_registry_name(self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions:
    """How much a host gives to others.

    Attributes:
        slots: Uploads at a time; more only split the same link.
        rate_bytes_per_s: Limit over all uploads; 0 is none.
        congestion_control: How TCP shares links among uploads, one of those in the kernel, if
            we may choose it; empty: as the kernel does by default.
    """

    slots: int = 6  # docs/decisions/0022: with fewer, links stand still between two blocks
    rate_bytes_per_s: float = 0.0
    congestion_control: str = "cubic"  # docs/decisions/0027

    def __post_init__(self) -> None:
        _require(1 <= self.slots <= 64, "slots must be 1 to 64")  # noqa: PLR2004
        _require(self.rate_bytes_per_s >= 0, "rate_bytes_per_s must not be negative")
        is_name = re.fullmatch(r"[a-z0-9_-]{0,15}", self.congestion_control)
        _require(bool(is_name), "congestion_control must be the name of one, such as cubic")


class CompressionMode(StrEnum):
    """When blocks are compressed."""

    OFF = "off"
    AUTO = "auto"
    ON = "on"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionOptions:
    """When the SuperNode compresses blocks; see docs/running/compression.md.

    Attributes:
        mode: `off`; `auto`: what gains enough, over links that are slower than the encoders, while
            the machine has CPU to spare; `on`: what gains enough, whatever links and load are.
        gain_min: A block that would become shorter by a smaller share stays as it is.
        threads: Encoders at a time; 0 is one less than there are CPUs, and at least one.
        cpu_share_max: Compression stops while the machine's CPUs are busier.
        run_queue_max: ... while more threads want a CPU, for each CPU.
        encode_queue_max: ... while more blocks wait to be compressed or stored.
    """

    mode: CompressionMode = CompressionMode.AUTO
    gain_min: float = 0.08  # below, decoding at every host costs more than the wire saves
    threads: int = 0
    cpu_share_max: float = 0.95
    run_queue_max: float = 4.0
    encode_queue_max: int = 16

    def __post_init__(self) -> None:
        _require(0 < self.gain_min < 1, "gain_min must be between 0 and 1")
        _require(0 <= self.threads <= 64, "threads must be 0 to 64")  # noqa: PLR2004
        _require(0 < self.cpu_share_max <= 1, "cpu_share_max must be above 0, and 1 at most")
        _require(self.run_queue_max > 0, "run_queue_max must be positive")
        _require(self.encode_queue_max >= 1, "encode_queue_max must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionOptions:
    """With what contents are encrypted; see docs/running/encryption.md.

    Attributes:
        cipher: Name of the cipher: `aes-256-gcm`, or that of a plug-in.
        provider: The key provider: `file`, or the name of a plug-in.
        keys: What the provider needs: for `file` the path of the key file, which only
            damselfly's user may read. Empty: there are no keys, and nothing can be encrypted.
        call_timeout_s: A cipher or key provider of a plug-in that does not answer for so long
            has failed, and is not called again.
    """

    cipher: str = "aes-256-gcm"
    provider: str = "file"
    keys: str = ""
    call_timeout_s: float = 10.0  # the longest block takes a hundredth, a key service a second

    def __post_init__(self) -> None:
        _require(self.call_timeout_s > 0, "call_timeout_s must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """A preheat that runs again and again, for a tag that moves.

    Attributes:
        image: The image, or the URL of a file.
        cron: When: minute, hour, day of the month, month, day of the week; in local time.
        target: Where it goes: `supernode`, `racks`, `share:25%`, `location:eu/zone-a`,
            `label:gpu`, `hosts:a,b`.
        platforms: Of an image's index; empty: all.
    """

    image: str = ""
    cron: str = ""
    target: str = "supernode"
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreheatOptions:
    """Preheating at the SuperNode.

    Attributes:
        token_file: File with the token that the API asks for; the environment variable
            `DAMSELFLY_API_TOKEN` may hold it instead. Without one only this host may use it, and
            nobody may change the cache by it.
        webhook_secret_file: File with the secret that webhooks must bring; the environment
            variable `DAMSELFLY_WEBHOOK_SECRET` may hold it instead. Without one only this
            host may send them.
        concurrent: Contents that are warmed at a time.
        rate_bytes_per_s: Limit over all that preheats read from sources; 0 is none.
        hours: Time of day in which preheats run, such as `22:00-06:00`, local time; empty:
            always.
        target: Where goes what was pushed, and what Harbor asks for.
        platforms: Of an image's index, of what was pushed; empty: all.
        schedules: Preheats that run again and again; see `ScheduleOptions`.
    """

    token_file: str = ""
    webhook_secret_file: str = ""
    concurrent: int = 4
    rate_bytes_per_s: float = 0.0
    hours: str = ""
    target: str = "supernode"
    platforms: tuple[str, ...] = ()
    schedules: tuple[ScheduleOptions, ...] = ()

    def __post_init__(self) -> None:
        _require(1 <= self.concurrent <= 64, "concurrent must be 1 to 64")  # noqa: PLR2004
        _require(self.rate_bytes_per_s >= 0, "rate_bytes_per_s must not be negative")
        _require(
            all(each.image and each.cron for each in self.schedules),
            "each of schedules needs an image and cron",
        )
        Hours.parse(self.hours)
        for target in (self.target, *(each.target for each in self.schedules)):
            Target.parse(target)
        for platform in self.platforms:
            Platform.parse(platform)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperNodeOptions:
    """The SuperNode.

    Attributes:
        listen: `host:port` to listen on, for sessions, blocks and the API.
        data: Folder of the cache.
        link_rate_bytes_per_s: What one host's link carries; block size and compression follow
            from it. 0: block sizes are those of 1 Gbit/s, and compression measures it.
        neighbours: Parents named to a peer at first; the number doubles at most.
        children_max: Peers that get seed blocks from the SuperNode itself, per task.
        uploads: Seed blocks sent at a time and their rate.
        cache: Quota and reserve.
        source: How sources are asked.
        registries: Registries that need certificates or credentials of their own; see
            `RegistryOptions`.
        read_on_s: A content that nobody wants any more is read on for so long, for who tries
            again; then reading stops, and goes on from there when somebody wants it. 0: it is
            read to its end, as always where a part cannot be asked for later.
        host_imports: Whose files that hosts import are taken over: `digest`, those that a digest
            names; `all`, also those that a URL names, so that each host is trusted; `none`.
        compression: When blocks are compressed.
        encryption: With what contents are encrypted.
        encrypt: Contents that are encrypted, whoever asks for them; see `EncryptRule`.
        preheat: Making contents warm before they are asked for.
    """

    listen: str = "0.0.0.0:8002"  # other hosts must reach it
    data: str = "/var/lib/damselfly/supernode"
    link_rate_bytes_per_s: float = 0.0
    neighbours: int = 8
    children_max: int = 64
    uploads: UploadOptions = field(default_factory=lambda: UploadOptions(slots=8))
    cache: CacheOptions = field(default_factory=CacheOptions)
    source: SourceOptions = field(default_factory=SourceOptions)
    registries: tuple[RegistryOptions, ...] = ()
    read_on_s: float = READ_ON_S
    host_imports: ImportPolicy = ImportPolicy.DIGEST
    compression: CompressionOptions = field(default_factory=CompressionOptions)
    encryption: EncryptionOptions = field(default_factory=EncryptionOptions)
    encrypt: tuple[EncryptRule, ...] = ()
    preheat: PreheatOptions = field(default_factory=PreheatOptions)

    def __post_init__(self) -> None:
        _require_address("listen", self.listen, is_listening=True)
        _require(all(each.name for each in self.registries), "each of registries needs a name")
        _require(not self.encrypt or bool(self.encryption.keys), "encrypt needs encryption.keys")
        _require(self.link_rate_bytes_per_s >= 0, "link_rate_bytes_per_s must not be negative")
        _require(1 <= self.neighbours <= 64, "neighbours must be 1 to 64")  # noqa: PLR2004
        _require(self.children_max >= 1, "children_max must be at least 1")
        _require(self.read_on_s >= 0, "read_on_s must not be negative")

    @property
    def assumed_link_rate_bytes_per_s(self) -> float:
        """What is taken for the rate of a link where it matters before any was measured."""
        return self.link_rate_bytes_per_s or USUAL_LINK_BYTES_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyOptions:
    """The daemon's port for programs of this host: registry mirror and HTTP proxy.

    Attributes:
        listen: `host:port` to listen on; empty: no mirror and no proxy. Elsewhere than on
            loopback it takes `allow` or `auth_file` as well.
        allow: Networks whose clients may use it besides this host's own: `10.0.0.0/8`.
        auth_file: File with `user:password` that proxy clients must give; the environment
            variable `DAMSELFLY_PROXY_AUTH` may hold it instead.
        connect_ports: Ports to which CONNECT may lead, besides those that a rule names.
        answer_timeout_s: A source that sends nothing for so long has no answer.
        tunnels_max: CONNECTs and upgraded connections at a time.
        idle_timeout_s: A tunnel in which nothing moves for so long is closed.
        rules: What is done with a request to the proxy; see `ProxyRule`.
    """

    listen: str = "127.0.0.1:65001"
    allow: tuple[str, ...] = ()
    auth_file: str = ""
    connect_ports: tuple[int, ...] = (443,)  # a proxy that leads to port 25 sends spam
    answer_timeout_s: float = 120.0  # slow, but answering: reports, searches, long polls
    tunnels_max: int = 4096  # two files each; a busy host has some hundred
    idle_timeout_s: float = 900.0  # long polls are shorter
    rules: tuple[ProxyRule, ...] = USUAL_RULES

    def __post_init__(self) -> None:
        if self.listen:
            _require_address("listen", self.listen, is_listening=True)
        Networks.parse(self.allow)
        _require(all(1 <= port <= PORT_MAX for port in self.connect_ports), "ports are 1 to 65535")
        _require(self.tunnels_max >= 1, "tunnels_max must be at least 1")
        _require(self.answer_timeout_s > 0, "answer_timeout_s must be positive")
        _require(self.idle_timeout_s > 0, "idle_timeout_s must be positive")
        _require(len(self.rules) <= RULES_MAX, f"there may be {RULES_MAX} rules at most")


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonOptions:
    """The daemon of a host.

    Attributes:
        supernode: `host:port` of the SuperNode; empty: none, every download is direct.
        data: Folder of the cache.
        listen: `host:port` for other hosts.
        advertise: `host:port` under which others reach it; empty: the address from which
            it reaches the SuperNode, with the port of `listen`.
        reachable: Other hosts can open connections to it; false behind a NAT or a firewall
            that lets nothing in: then it takes blocks, and gives none.
        location: `region/zone/rack`; empty is unknown.
        labels: What preheats may choose it by, such as `gpu` or `pool=training`.
        socket: Path of the Unix socket for dfget; empty: `daemon.sock` in `data`.
        socket_group: Group that may use the socket besides the daemon's own user.
        download_rate_bytes_per_s: Limit over all downloads; 0 is none.
        uploads: What it gives to others.
        cache: Quota and reserve.
        source: How sources are asked when the swarm cannot help.
        proxy: Registry mirror and HTTP proxy for programs of this host.
        mirror: How the registry mirror answers.
        registries: Registries that are not simply at `https://NAME`; see `RegistryOptions`.
        encrypt: Contents that this host wants as encrypted ones alone, whatever its SuperNode's
            rules say; see `EncryptRule`. Without a SuperNode that has keys they cannot be had.
    """

    supernode: str = ""
    data: str = "/var/lib/damselfly/daemon"
    listen: str = "0.0.0.0:65000"  # other hosts must reach it
    advertise: str = ""
    reachable: bool = True
    location: str = ""
    labels: tuple[str, ...] = ()
    socket: str = ""
    socket_group: str = ""
    download_rate_bytes_per_s: float = 0.0
    uploads: UploadOptions = field(default_factory=UploadOptions)
    cache: CacheOptions = field(default_factory=CacheOptions)
    source: SourceOptions = field(default_factory=SourceOptions)
    proxy: ProxyOptions = field(default_factory=ProxyOptions)
    mirror: MirrorOptions = field(default_factory=MirrorOptions)
    registries: tuple[RegistryOptions, ...] = ()
    encrypt: tuple[EncryptRule, ...] = ()

    def __post_init__(self) -> None:
        _require_address("listen", self.listen, is_listening=True)
        for key in ("supernode", "advertise"):
            if value := getattr(self, key):
                _require_address(key, value)
        Location.parse(self.location)
        _require(all(each.name for each in self.registries), "each of registries needs a name")
        for label in self.labels:
            _require(is_label(label), f"label {label!r} must be letters, digits and ._=/-")


@dataclass(frozen=True, slots=True, kw_only=True)
class EphemeralOptions:
    """A dfget that is a peer itself while it runs.

    Attributes:
        supernode: `host:port` of the SuperNode; empty: none, the download is direct.
        listen: `host:port` for other hosts; port 0 takes any free one.
        location: `region/zone/rack`; empty is unknown.
        uploads: What it gives to others while it runs.
        source: How the source is asked when the swarm cannot help.
    """

    supernode: str = ""
    listen: str = "0.0.0.0:0"  # other hosts must reach it
    location: str = ""
    uploads: UploadOptions = field(default_factory=UploadOptions)
    source: SourceOptions = field(default_factory=SourceOptions)
