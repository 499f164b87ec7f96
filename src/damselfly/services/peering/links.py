"""The links of a process: per edition and peer a WebSocket that tells who holds what.

Either side of a pair may open the link. When both did, the one that the host with the lower
id opened stays, so that both sides keep the same one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import aiohttp
from aiohttp import web

from damselfly.clock import now_s
from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.announcing import News
from damselfly.core.downloading.events import Loss
from damselfly.core.peer import SUPERNODE, HostId, is_host_id
from damselfly.core.task import EditionId, is_edition_id
from damselfly.errors import RemoteProtocolError
from damselfly.telemetry.log import get_log
from damselfly.transport.conversation import Conversation, Socket, client_socket, server_socket
from damselfly.wire.link_messages import (
    PROTOCOL,
    Declined,
    Granted,
    Held,
    LinkHello,
    LinkMessage,
    link_codec,
)

LINKS_MAX: Final = 64  # per edition; a host is told of 16 at most, the SuperNode has 64 children
HELLO_TIMEOUT_S: Final = 5.0
MESSAGE_BYTES_MAX: Final = 256 << 10  # a hello with what is held of 2,000,000 blocks
# The other side may not have heard of the edition yet: a refusal is tried again after these.
RETRY_PAUSES_S: Final = (0.1, 0.3, 1.0)

log = get_log()


@dataclass(slots=True)
class Link:
    """An open link.

    Attributes:
        host_id: Who is there.
        address: Where its blocks can be asked for; empty: nowhere.
        is_ours: We opened it.
        location: Where it is; empty is unknown.
        held: The blocks that it told us of, in all.
        load: Its last word on that.
        is_heard_of: The present listener was told of it.
    """

    host_id: HostId
    address: str
    is_ours: bool
    conversation: Conversation[LinkMessage, LinkMessage]
    location: str = ""
    held: BlockSet = field(default_factory=BlockSet)
    load: int = 0
    is_heard_of: bool = False

    def post(self, message: LinkMessage) -> None:
        """Send a message."""
        self.conversation.post(message)


class LinkListener(Protocol):
    """Whoever is interested in the links of an edition."""

    def on_linked(self, link: Link, held: BlockSet, load: int) -> None:
        """A link is open."""

    def on_link_message(self, link: Link, message: Held | Granted | Declined) -> None:
        """The other side told something."""

    def on_link_lost(self, host_id: HostId, loss: Loss) -> None:
        """A link ended, or could not be opened."""


class Links:
    """All links of this process, by edition and host.

    Attributes:
        host_id: Who we are.
        address: Under which others reach our blocks; empty: they cannot.
        location: Where we are; empty is unknown.
    """

    def __init__(
        self,
        *,
        host_id: HostId,
        held_of: Callable[[EditionId], BlockSet | None],
        load: Callable[[], int],
        client: aiohttp.ClientSession,
        tasks: asyncio.TaskGroup,
        links_max: int = LINKS_MAX,
        location: str = "",
    ) -> None:
        self.host_id = host_id
        self.address = ""
        self.location = location
        self._held_of = held_of
        self._load = load
        self._client = client
        self._tasks = tasks
        self._links_max = links_max
        self._links: dict[EditionId, dict[HostId, Link]] = defaultdict(dict)
        self._listeners: dict[EditionId, LinkListener] = {}
        self._opening: set[tuple[EditionId, HostId]] = set()
        # All that run; of some the other side has not said yet who it is.
        self._conversations: set[Conversation[LinkMessage, LinkMessage]] = set()
        self._is_closed = False
        # What the links of each edition were told; there while it has links.
        self._news: dict[EditionId, News] = defaultdict(News)
        self._claimed: dict[EditionId, tuple[int, ...]] = {}

    def listen(self, edition_id: EditionId, listener: LinkListener) -> None:
        """Tell a listener from now on what happens to the links of an edition.

        It is told of those that are open when it wants to open them.
        """
        self._listeners[edition_id] = listener
        for link in self.of(edition_id):
            link.is_heard_of = False

    def unlisten(self, edition_id: EditionId) -> None:
        """Tell it no more; the links stay, for what we can give."""
        self._listeners.pop(edition_id, None)

    def of(self, edition_id: EditionId) -> Iterable[Link]:
        """Return the open links of an edition."""
        return tuple(self._links[edition_id].values()) if edition_id in self._links else ()

    def close_edition(self, edition_id: EditionId) -> None:
        """Close the links of an edition."""
        for link in self.of(edition_id):
            link.conversation.close()

    def close(self) -> None:
        """Close all links, those that are being opened as well; there are none from now on."""
        self._is_closed = True
        for conversation in self._conversations:
            conversation.close()

    # --- news

    def announce(self, edition_id: EditionId, block_index: int) -> None:
        """Tell the links of the edition that a block is held, each with others of the moment."""
        if (news := self._news.get(edition_id)) is not None:  # a new link begins with all
            has_timer = news.due_s is not None
            self._tell(edition_id, news.add(block_index, now_s=now_s()))
            if news.due_s is not None and not has_timer:
                pause_s = max(news.due_s - now_s(), 0.0)
                asyncio.get_running_loop().call_later(pause_s, self._tell_due, edition_id, news)

    def tell_rest(self, edition_id: EditionId) -> None:
        """Tell the links of the edition what they were not told: there will be no more news."""
        if (news := self._news.get(edition_id)) is not None:
            self._tell(edition_id, news.behind())

    def _tell_due(self, edition_id: EditionId, news: News) -> None:
        if self._news.get(edition_id) is news:  # else its links have ended
            self._tell(edition_id, news.due())

    def _tell(self, edition_id: EditionId, host_ids: Iterable[HostId]) -> None:
        news, links = self._news[edition_id], self._links[edition_id]
        load, claimed = self._load(), self._claimed.get(edition_id, ())
        for host_id in host_ids:
            indices = news.take(host_id, now_s=now_s())
            links[host_id].post(Held(indices=indices, load=load, claimed=claimed))

    def claim(self, listener: LinkListener, indices: tuple[int, ...]) -> None:
        """Tell links at our own location which blocks we are fetching from elsewhere.

        Args:
            listener: Of the edition.
            indices: All of them.
        """
        for edition_id, other in self._listeners.items():
            if other is listener:
                self._claimed[edition_id] = indices
                message = Held(indices=(), load=self._load(), claimed=indices)
                for link in self.of(edition_id):
                    if link.location == self.location and link.host_id != SUPERNODE:
                        link.post(message)

    # --- opening

    def open(self, edition_id: EditionId, host_id: HostId, address: str) -> None:
        """Open a link with a peer, unless there is one; the listener hears how it went."""
        key = (edition_id, host_id)
        link = self._links[edition_id].get(host_id)
        if link is not None and not link.conversation.is_closing:
            self._tell_of(edition_id, link)
            return
        if link is None and key in self._opening:
            return
        self._opening.add(key)
        self._tasks.create_task(self._open(edition_id, host_id, address), name=f"link {host_id}")

    async def _open(self, edition_id: EditionId, host_id: HostId, address: str) -> None:
        try:
            socket = await self._connect(edition_id, address)
            if isinstance(socket, Loss):
                self._lost(edition_id, host_id, socket)
                return
            await self._run(socket, edition_id, address, is_ours=True)
        except Exception:  # a supervisor: a bug in one link shall not end the others
            log.exception("link_broke", host=host_id)
        finally:
            self._opening.discard((edition_id, host_id))

    async def _connect(self, edition_id: EditionId, address: str) -> Socket | Loss:
        url = f"http://{address}/v1/editions/{edition_id}/link"
        for pause_s in (*RETRY_PAUSES_S, None):
            try:
                async with asyncio.timeout(HELLO_TIMEOUT_S):
                    return await client_socket(self._client, url)
            except aiohttp.WSServerHandshakeError as exc:
                if exc.status != web.HTTPNotFound.status_code:
                    return Loss.UNREACHABLE
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                return Loss.UNREACHABLE
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        return Loss.MISSING

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer `GET /v1/editions/{edition_id}/link`."""
        edition_id = request.match_info["edition_id"]
        if not is_edition_id(edition_id) or self._held_of(EditionId(edition_id)) is None:
            raise web.HTTPNotFound(text="this edition is not held here\n")
        if len(self._links[EditionId(edition_id)]) >= self._links_max:
            raise web.HTTPServiceUnavailable(text="enough links\n")
        socket = server_socket(message_bytes_max=MESSAGE_BYTES_MAX)
        await socket.prepare(request)
        await self._run(socket, EditionId(edition_id), "", is_ours=False)
        return socket

    # --- running

    async def _run(
        self, socket: Socket, edition_id: EditionId, address: str, *, is_ours: bool
    ) -> None:
        conversation = Conversation(socket, reads=link_codec, writes=link_codec)
        held = self._held_of(edition_id) or BlockSet()
        conversation.post(
            LinkHello(
                protocol=PROTOCOL,
                host_id=self.host_id,
                address=self.address,
                held=held.to_bytes(),
                load=self._load(),
                location=self.location,
            )
        )
        link: Link | None = None

        def on_message(message: LinkMessage) -> None:
            nonlocal link
            if link is None:
                timer.cancel()
                link = self._on_hello(edition_id, address, message, conversation, is_ours=is_ours)
                missed = (self._held_of(edition_id) or BlockSet()) - held
                if link is not None and missed:  # stored between our hello and theirs
                    link.post(Held(indices=tuple(missed), load=self._load()))
            else:
                self._on_message(edition_id, link, message)

        timer = asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, conversation.close)
        self._conversations.add(conversation)
        if self._is_closed:
            conversation.close()
        try:
            await conversation.run(on_message)
        except RemoteProtocolError as exc:
            log.warning("link_refused", host=link and link.host_id, reason=str(exc))
        except (ConnectionError, aiohttp.ClientError):
            pass
        finally:
            timer.cancel()
            self._conversations.discard(conversation)
            self._forget(edition_id, link)

    def _on_hello(
        self,
        edition_id: EditionId,
        address: str,
        message: LinkMessage,
        conversation: Conversation[LinkMessage, LinkMessage],
        *,
        is_ours: bool,
    ) -> Link | None:
        if not isinstance(message, LinkHello):
            raise RemoteProtocolError("the first message of a link is link_hello")
        if message.protocol != PROTOCOL:
            raise RemoteProtocolError(f"link protocol {message.protocol}; {PROTOCOL} is spoken")
        host_id = HostId(message.host_id)
        if host_id == self.host_id or not (is_host_id(host_id) or (host_id == SUPERNODE)):
            raise RemoteProtocolError("a link with a host id that cannot be")
        link = Link(
            host_id,
            address or message.address,
            is_ours,
            conversation,
            message.location,
            held=BlockSet.from_bytes(message.held),
            load=message.load,
        )
        if is_ours and edition_id not in self._listeners:
            # Who wanted it is gone: nobody would hear of blocks that are granted to us.
            self._opening.discard((edition_id, host_id))
            conversation.close()
            return link
        known = self._links[edition_id].get(host_id)
        if known is not None and not known.conversation.is_closing:
            if not self._is_better(link):
                conversation.close()
                return link
            known.conversation.close()
        self._links[edition_id][host_id] = link
        self._news[edition_id].link(host_id, link.held)
        self._tell_of(edition_id, link)
        return link

    def _tell_of(self, edition_id: EditionId, link: Link) -> None:
        listener = self._listeners.get(edition_id)
        if listener is not None and not link.is_heard_of:
            link.is_heard_of = True
            listener.on_linked(link, link.held.copy(), link.load)

    def _is_better(self, link: Link) -> bool:
        """Say whether a second link of a pair is the one that both sides keep."""
        return link.is_ours == (self.host_id < link.host_id)

    def _on_message(self, edition_id: EditionId, link: Link, message: LinkMessage) -> None:
        if isinstance(message, LinkHello):
            raise RemoteProtocolError("a second link_hello")
        if isinstance(message, Granted) and link.host_id != SUPERNODE:
            raise RemoteProtocolError("only the SuperNode grants blocks")
        if self._links[edition_id].get(link.host_id) is not link:
            return  # a second link that was closed, but still had something to say
        if isinstance(message, Held):
            held = BlockSet.of(message.indices)
            self._news[edition_id].hold(link.host_id, held)
            link.held.update(held)
            link.load = message.load
        elif isinstance(message, Granted):
            link.held.add(message.block_index)
        if (listener := self._listeners.get(edition_id)) is not None:
            listener.on_link_message(link, message)

    def _forget(self, edition_id: EditionId, link: Link | None) -> None:
        if link is None or self._links[edition_id].get(link.host_id) is not link:
            return
        del self._links[edition_id][link.host_id]
        self._news[edition_id].unlink(link.host_id)
        self._lost(edition_id, link.host_id, Loss.ENDED)

    def _lost(self, edition_id: EditionId, host_id: HostId, loss: Loss) -> None:
        if not self._links[edition_id]:
            del self._links[edition_id]
            self._news.pop(edition_id, None)
            self._claimed.pop(edition_id, None)
        if (listener := self._listeners.get(edition_id)) is not None:
            listener.on_link_lost(host_id, loss)
