"""Guards the way of a data key to a host: who was told the edition gets it, and nobody else."""

import random
from collections.abc import Callable

import pytest

from damselfly.core.peer import HostId
from damselfly.core.task import Edition, EditionId, TaskId
from damselfly.errors import PluginError, RemoteProtocolError
from damselfly.services.encrypting.cipher_plugins import Ciphers
from damselfly.services.encrypting.key_gate import KeyGate
from damselfly.services.supernode.key_telling import KeyTelling
from damselfly.storage.memory import MemoryStore
from damselfly.wire import session_messages as wire
from damselfly.wire.ciphers.aes256gcm import Aes256Gcm
from damselfly.wire.ciphers.data_keys import DataKey

ANN, BOB = HostId("h-ann"), HostId("h-bob")
TASK, EDITION = TaskId("a" * 64), EditionId("b" * 32)
KEY = DataKey.of(Aes256Gcm(), bytes(range(32)), draw=random.Random(0).randbytes)
TOLD = wire.EditionTold(
    task_id=TASK, edition_id=EDITION, block_bytes=10, is_packed=True, cipher=1, key_id=KEY.key_id
)
LISTED = wire.BlocksListed(task_id=TASK, edition_id=EDITION, first_index=0, digests=bytes(32))
SEALED = wire.Sealed(task_id=TASK, edition_id=EDITION, size_bytes=10)
FAILED = wire.Failed(task_id=TASK, error="DamselflyError", message="no")


class Host:
    """A gate, and what it asked."""

    def __init__(self, *, has_key: Callable[[EditionId], bool] = lambda _: False) -> None:
        self.asked: list[wire.HostMessage] = []
        self.gate = KeyGate(Ciphers(), has_key=has_key, post=self.asked.append)

    def question(self) -> wire.KeyAsked:
        asked = self.asked[-1]
        assert isinstance(asked, wire.KeyAsked)
        return asked


class SuperNode:
    """What tells keys, and what it told."""

    def __init__(self, *, key: DataKey | None = KEY) -> None:
        self.told: list[tuple[HostId, wire.SuperNodeMessage]] = []
        edition = Edition(
            edition_id=EDITION,
            task_id=TASK,
            block_bytes=10,
            size_bytes=10,
            is_packed=True,
            cipher=1,
            key_id=KEY.key_id,
        )
        store = MemoryStore(now_wall_s=lambda: 0.0)
        self.entry = store.open(edition)
        store.close()  # no test reads a block
        if key is not None:
            self.entry.unlock(key)
        self.telling = KeyTelling(
            entry_of=lambda edition_id: self.entry if edition_id == EDITION else None,
            post=lambda host_id, message: self.told.append((host_id, message)),
        )

    def answer(self, host_id: HostId, asked: wire.KeyAsked) -> wire.SuperNodeMessage:
        self.telling.answer(host_id, asked)
        told_to, message = self.told[-1]
        assert told_to == host_id
        return message


# --- both together


def test_a_host_that_was_told_the_edition_gets_its_key() -> None:
    host, supernode = Host(), SuperNode()
    supernode.telling.on_host(ANN, (1,))

    assert supernode.telling.permit(ANN, supernode.entry)
    assert host.gate.admit(TOLD) == ()
    told = supernode.answer(ANN, host.question())

    assert host.gate.admit(told) == [TOLD]
    assert host.gate.key is not None
    assert host.gate.key.secret == KEY.secret
    assert KEY.secret not in wire.supernode_codec.encode(told)


# --- the SuperNode's side


def refused(message: wire.SuperNodeMessage) -> str:
    assert isinstance(message, wire.Failed)
    assert not message.can_use_source
    return message.message


def test_a_host_that_was_not_told_the_edition_gets_no_key() -> None:
    host, supernode = Host(), SuperNode()
    host.gate.admit(TOLD)
    supernode.telling.on_host(ANN, (1,))
    supernode.telling.on_host(BOB, (1,))
    supernode.telling.permit(ANN, supernode.entry)

    assert "hosts that were told" in refused(supernode.answer(BOB, host.question()))


def test_a_new_session_must_be_told_anew() -> None:
    host, supernode = Host(), SuperNode()
    host.gate.admit(TOLD)
    supernode.telling.on_host(ANN, (1,))
    supernode.telling.permit(ANN, supernode.entry)

    supernode.telling.forget(ANN)
    assert "hosts that were told" in refused(supernode.answer(ANN, host.question()))
    supernode.telling.on_host(ANN, (1,))
    assert "hosts that were told" in refused(supernode.answer(ANN, host.question()))


def test_a_host_without_the_cipher_is_told_so_and_gets_neither_edition_nor_key() -> None:
    host, supernode = Host(), SuperNode()
    host.gate.admit(TOLD)
    supernode.telling.on_host(ANN, ())

    assert not supernode.telling.permit(ANN, supernode.entry)
    assert "cipher 1, which this host does not have" in refused(supernode.told[-1][1])
    assert "hosts that were told" in refused(supernode.answer(ANN, host.question()))


def test_of_an_edition_whose_key_is_gone_nobody_gets_it() -> None:
    host, supernode = Host(), SuperNode(key=None)
    host.gate.admit(TOLD)
    supernode.telling.on_host(ANN, (1,))
    supernode.telling.permit(ANN, supernode.entry)

    assert "join again" in refused(supernode.answer(ANN, host.question()))


def test_a_question_without_a_public_key_is_refused() -> None:
    supernode = SuperNode()
    supernode.telling.on_host(ANN, (1,))
    supernode.telling.permit(ANN, supernode.entry)
    asked = wire.KeyAsked(task_id=TASK, edition_id=EDITION, public_key=b"none")

    with pytest.raises(RemoteProtocolError, match="public key"):
        supernode.telling.answer(ANN, asked)


# --- the host's side


def told_to(host: Host, key: DataKey = KEY) -> wire.KeyTold:
    supernode = SuperNode()
    supernode.entry.data_key = key
    supernode.telling.on_host(ANN, (1,))
    supernode.telling.permit(ANN, supernode.entry)
    message = supernode.answer(ANN, host.question())
    assert isinstance(message, wire.KeyTold)
    return message


def test_what_is_told_meanwhile_waits_for_the_key_in_its_order() -> None:
    host = Host()

    assert [host.gate.admit(each) for each in (TOLD, LISTED, SEALED)] == [(), (), ()]
    assert host.gate.admit(told_to(host)) == [TOLD, LISTED, SEALED]
    assert host.gate.admit(LISTED) == (LISTED,)


def test_failures_do_not_wait() -> None:
    host = Host()
    host.gate.admit(TOLD)

    assert host.gate.admit(FAILED) == (FAILED,)


def test_nothing_waits_for_a_plain_edition_or_a_key_that_is_here() -> None:
    plain = wire.EditionTold(task_id=TASK, edition_id=EDITION, block_bytes=10)
    host, knowing = Host(), Host(has_key=lambda _: True)

    assert host.gate.admit(plain) == (plain,)
    assert knowing.gate.admit(TOLD) == (TOLD,)
    assert host.asked == knowing.asked == []


def test_a_new_session_asks_anew_and_forgets_what_waited() -> None:
    host = Host()
    host.gate.admit(TOLD)
    host.gate.admit(LISTED)
    late = told_to(host)

    host.gate.admit(TOLD)

    assert len({asked.public_key for asked in host.asked if isinstance(asked, wire.KeyAsked)}) == 2
    with pytest.raises(RemoteProtocolError, match="not sealed for this host"):
        host.gate.admit(late)
    assert host.gate.admit(told_to(host)) == [TOLD]


def test_a_key_that_nobody_asked_for_changes_nothing() -> None:
    host = Host()
    host.gate.admit(TOLD)
    told = told_to(host)
    host.gate.admit(told)

    assert host.gate.admit(told) == ()


def test_a_wrong_key_is_found_out_before_any_block() -> None:
    host = Host()
    host.gate.admit(TOLD)
    other = DataKey.of(Aes256Gcm(), bytes(32), draw=random.Random(0).randbytes)

    with pytest.raises(RemoteProtocolError, match="told another key than"):
        host.gate.admit(told_to(host, other))
    assert host.gate.key is None


def test_a_cipher_that_is_not_known_here_is_named() -> None:
    told = wire.EditionTold(task_id=TASK, edition_id=EDITION, block_bytes=1, cipher=99, key_id=1)

    with pytest.raises(PluginError, match="cipher 99 is not installed here"):
        Host().gate.admit(told)
