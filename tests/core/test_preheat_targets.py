"""Guards where a preheat goes: how targets are written, and which hosts they mean."""

import pytest
from hypothesis import given, strategies as st

from damselfly.core.peer import Host, HostId
from damselfly.core.preheating.targets import NAMES_MAX, Chosen, Target, TargetKind, is_label
from damselfly.core.topology import Location
from damselfly.errors import UsageError


def a_host(name: str, location: str = "", *labels: str, can_warm: bool = True) -> Host:
    return Host(
        host_id=HostId(name),
        address=f"{name}:1",
        location=Location.parse(location),
        labels=labels,
        can_warm=can_warm,
    )


HOSTS = [
    a_host("ann", "eu/a", "gpu"),
    a_host("bob", "eu/a"),
    a_host("cid", "eu/b", "gpu", "pool=x"),
    a_host("dan", "us/a"),
    a_host("old", "eu/a", "gpu", can_warm=False),
]


def chosen(text: str, job: str = "job") -> set[str]:
    return set(Target.parse(text).choose(HOSTS, job=job).host_ids)


@pytest.mark.parametrize(
    "text",
    [
        *("supernode", "racks", "share:25%", "share:0.5", "location:eu/a", "label:pool=x"),
        *("hosts:ann", "hosts:ann,bob"),
    ],
)
def test_target_is_written_as_it_is_read(text: str) -> None:
    assert str(Target.parse(text)) == text
    assert Target.parse(f" {text} ") == Target.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "moon", "supernode:x", "racks:1", "share", "share:", "share:0%", "share:101%"),
        *("share:x", "share:1%,2%", "location:", "location:/", "location:a b", "label:", "label:é"),
        *("label:a,b", "hosts:", "hosts:supernode", "hosts:a b"),
        "hosts:" + ",".join(f"h{number}" for number in range(NAMES_MAX + 1)),
    ],
)
def test_target_that_is_none_is_told_what_one_looks_like(text: str) -> None:
    with pytest.raises(UsageError, match="write supernode, racks, share:25%"):
        Target.parse(text)


def test_hosts_are_chosen_among_those_that_can_warm() -> None:
    assert Target().choose(HOSTS, job="job") == Chosen(())
    assert chosen("location:eu") == {"ann", "bob", "cid"}
    assert chosen("location:eu/a") == {"ann", "bob"}
    assert chosen("label:gpu") == {"ann", "cid"}
    assert chosen("label:none") == set()
    assert chosen("share:100%") == {"ann", "bob", "cid", "dan"}
    assert len(chosen("share:50%")) == 2
    assert len(chosen("share:1%")) == 1


def test_named_hosts_that_are_not_here_are_said() -> None:
    told = Target.parse("hosts:dan,eve,old,dan").choose(HOSTS, job="job")

    assert told == Chosen((HostId("dan"),), (HostId("eve"), HostId("old")))


@given(st.text(max_size=10))
def test_each_rack_gets_one_host_and_the_same_one_again(job: str) -> None:
    told = chosen("racks", job)

    assert told == chosen("racks", job)
    assert len(told) == 3
    assert {"cid", "dan"} < told


def test_different_jobs_choose_different_hosts() -> None:
    assert len({min(chosen("share:1%", str(number))) for number in range(50)}) == 4


def test_labels_are_short_words() -> None:
    assert is_label("gpu")
    assert is_label("topology.example/zone=a")
    assert not is_label("")
    assert not is_label("a b")
    assert TargetKind("label") is TargetKind.LABEL
