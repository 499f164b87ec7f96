"""What `damselfly status` shows: rates from differences, plain lines, and a picture that fits."""

import io

import msgspec
import pytest
from rich.console import Console

from damselfly.faces.cli.status_picture import picture
from damselfly.faces.cli.status_text import (
    Rates,
    cropped,
    done_text,
    lines,
    name_text,
    seconds_text,
)
from damselfly.wire.local_messages import ProviderBytes
from damselfly.wire.status_messages import DownloadSeen, HostStatus
from faces.cli.statuses import MIB, a_download, a_status

LAYER = "https://quay.test/v2/team/app/blobs/sha256:0123456789abcdef0123456789abcdef"


def rates_of(*statuses: HostStatus, step_s: float = 1.0) -> Rates:
    rates = Rates()
    for index, status in enumerate(statuses):
        rates.add(status, now_s=index * step_s)
    return rates


def drawn(status: HostStatus, width: int = 120, height: int = 20) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(picture(status, rates_of(status), width=width, height=height))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_rates_are_differences_over_three_seconds() -> None:
    def at(count: int) -> HostStatus:
        by = ProviderBytes(cache=5 * MIB, peers=count * MIB)
        return a_status(
            a_download(bytes_by=by),
            received_bytes_by=ProviderBytes(peers=count * MIB),
            sent_bytes=2 * count * MIB,
        )

    rates = rates_of(*(at(count) for count in (0, 0, 30, 60, 90)))

    assert (rates.received, rates.sent, rates.of("model.bin")) == (30 * MIB, 60 * MIB, 30 * MIB)


def test_one_status_alone_has_no_rate_and_a_new_process_starts_anew() -> None:
    first, other = a_status(), a_status(pid=8, sent_bytes=0)

    assert rates_of(first).received == 0
    assert rates_of(first, other).sent == 0


def test_download_that_just_began_has_the_rate_of_its_first_bytes() -> None:
    rates = rates_of(a_status(), a_status(a_download()), step_s=2.0)

    assert rates.of("model.bin") == 25 * MIB


def test_lines_say_everything_without_a_terminal() -> None:
    status = a_status(
        a_download(),
        a_download(LAYER, url=LAYER, state="waiting", size_bytes=-1, bytes_by=ProviderBytes()),
        ended_downloads=(
            a_download("done.bin", state="finished", bytes_by=ProviderBytes(source=10 * MIB)),
            a_download("gone.bin", state="failed", error="source answered 404"),
        ),
    )

    assert lines(status, rates_of(status)) == [
        "daemon h-1 on 10.0.0.7:65000, eu/zone-a, up 1 h 6 min",
        "SuperNode sn.test:8002 connected",
        "received 400.0 MiB: 300.0 MiB from peers, 100.0 MiB from source",
        "sent 200.0 MiB, 2 uploads in 4 slots",
        "cache 512.0 MiB of 1.0 GiB in 9 editions, 4.0 GiB free",
        (
            "fetching files.test/model.bin: 50.0 of 100.0 MiB, 10.0 MiB/s, 3 peers; "
            "peers 80 %, SuperNode 20 %"
        ),
        "waiting quay.test/team/app sha256:0123456789ab: 0 B, 0 B/s, 3 peers; nothing yet",
        "finished files.test/done.bin: 10.0 MiB in 5.0 s, 2.0 MiB/s; source 100 %",
        "failed files.test/gone.bin: source answered 404",
    ]


def test_lines_of_a_daemon_at_rest() -> None:
    status = a_status(supernode="", is_connected=False, location="")

    told = lines(status, rates_of(status))

    assert told[1] == "no SuperNode"
    assert told[-1] == "no downloads yet"


def test_picture_is_calm_and_whole() -> None:
    status = a_status(
        a_download(),
        ended_downloads=(a_download("done.bin", state="finished"),),
    )

    assert drawn(status) == [
        "damselfly  h-1  10.0.0.7:65000  eu/zone-a  up 1 h 6 min",
        (
            "● SuperNode sn.test:8002 connected   "
            "cache 512.0 MiB of 1.0 GiB in 9 editions, 4.0 GiB free"
        ),
        "",
        "↓        0 B/s   400.0 MiB   peers 75 %  source 25 %",
        "↑        0 B/s   200.0 MiB   2 uploads in 4 slots",
        "",
        (
            "  Download                                                    Done          Rate"
            "  Peers  From"
        ),
        (
            "↓ files.test/model.bin       ━━━━━━━━━━━━━━━━    50 % of 100.0 MiB         0 B/s"
            "      3  peers 80 %  SuperNode 20 %"
        ),
        "",
        ("✓ files.test/done.bin        50.0 MiB in 5.0 s, 10.0 MiB/s   peers 80 %  SuperNode 20 %"),
    ]


@pytest.mark.parametrize("width", [20, 40, 80, 120, 300])
@pytest.mark.parametrize("height", [8, 12, 24, 60])
@pytest.mark.parametrize("running", [0, 1, 50])
@pytest.mark.parametrize("ended", [0, 1, 32])
def test_picture_fits_every_terminal(width: int, height: int, running: int, ended: int) -> None:
    many: tuple[DownloadSeen, ...] = tuple(a_download(f"{number}" * 40) for number in range(50))
    failed = tuple(a_download(f"{number}", state="failed", error="e" * 400) for number in range(32))

    told = drawn(a_status(*many[:running], ended_downloads=failed[:ended]), width, height)

    assert len(told) <= max(height, 12)
    assert max(len(line) for line in told) <= width


BUSY = a_status(
    a_download(LAYER, url=LAYER, bytes_by=ProviderBytes(peers=40 * MIB, cache=9 * MIB, source=1)),
    a_download("deep/in/folders/model-00001-of-00030.safetensors", state="checking"),
    a_download("next.bin", state="waiting", bytes_by=ProviderBytes(), size_bytes=-1),
    ended_downloads=(
        a_download("done.bin", state="finished"),
        a_download(
            "gone.bin",
            state="failed",
            error="source https://files.test/gone.bin answered 404: there is nothing",
        ),
    ),
)


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (
            40,
            [
                "damselfly  h-1  10.0.0.7:65000",
                "● SuperNode sn.test:8002 connected",
                "",
                "↓        0 B/s   400.0 MiB   peers 75 %",
                "↑        0 B/s   200.0 MiB   2 uploads",
                "",
                "  Download            Done          Rate",
                "↓ 0123456789ab        49 %         0 B/s",
                "↓ mod…etensors    checking         0 B/s",
                "↓ next.bin         waiting         0 B/s",
                "",
                "✓ done.bin      50.0 MiB in 5.0 s",
                "✗ gone.bin      source answered 404: th…",
            ],
        ),
        (
            60,
            [
                "damselfly  h-1  10.0.0.7:65000  eu/zone-a  up 1 h 6 min",
                "● SuperNode sn.test:8002 connected",
                "",
                "↓        0 B/s   400.0 MiB   peers 75 %  source 25 %",
                "↑        0 B/s   200.0 MiB   2 uploads in 4 slots",
                "",
                "  Download               Done          Rate  From",
                "↓ 0123456789ab           49 %         0 B/s  peers 82 %",
                "↓ mode…afetensors    checking         0 B/s  peers 80 %",
                "↓ next.bin            waiting         0 B/s  ·",
                "",
                "✓ done.bin         50.0 MiB in 5.0 s, 10.0 MiB/s",
                "✗ gone.bin         source answered 404: there is nothing",
            ],
        ),
        (
            80,
            [
                "damselfly  h-1  10.0.0.7:65000  eu/zone-a  up 1 h 6 min",
                "● SuperNode sn.test:8002 connected   cache 512.0 MiB of 1.0 GiB in 9 editions",
                "",
                "↓        0 B/s   400.0 MiB   peers 75 %  source 25 %",
                "↑        0 B/s   200.0 MiB   2 uploads in 4 slots",
                "",
                "  Download                       Done          Rate  From",
                "↓ 0123456789ab                   49 %         0 B/s  peers 82 %  cache 18 %",
                "↓ model-0…030.safetensors    checking         0 B/s  peers 80 %  SuperNode 20 %",
                "↓ files.test/next.bin         waiting         0 B/s  ·",
                "",
                "✓ files.test/done.bin      50.0 MiB in 5.0 s, 10.0 MiB/s   peers 80 %",
                "✗ files.test/gone.bin      source answered 404: there is nothing",
            ],
        ),
    ],
)
def test_narrow_picture_leaves_out_whole_words(width: int, told: list[str]) -> None:
    assert drawn(BUSY, width) == told


@pytest.mark.parametrize("width", range(38, 200))
def test_columns_fill_no_more_than_the_terminal_and_are_readable(width: int) -> None:
    header, *rows = drawn(BUSY, width)[6:10]

    assert header.split()[:3] == ["Download", "Done", "Rate"]
    assert ("From" in header) == (width >= 59)
    assert not any(row.endswith("…") for row in rows)
    assert max(map(len, rows)) <= width


def test_connection_is_worth_more_than_the_address() -> None:
    status = a_status(supernode=f"{'long.' * 9}test:8002", is_connected=False)

    assert drawn(status, 40)[1] == "● SuperNode not connected"


def test_empty_picture_says_so() -> None:
    assert drawn(a_status())[-1] == "no downloads yet"


def test_what_the_cache_gave_is_told() -> None:
    status = a_status()
    status = msgspec.structs.replace(
        status, cache=msgspec.structs.replace(status.cache, hit_bytes=3 * MIB)
    )

    told = lines(status, rates_of(status))

    assert "cache 512.0 MiB of 1.0 GiB in 9 editions, 4.0 GiB free; gave 3.0 MiB" in told
    assert told[-1] == drawn(status)[-1] == "no downloads: all that was asked for was in the cache"


def test_names_are_what_people_call_them() -> None:
    assert name_text(LAYER) == "quay.test/team/app sha256:0123456789ab"
    assert name_text("https://quay.test/v2/app/manifests/v1") == "quay.test/app v1"
    assert name_text("http://files.test/a/b.bin") == "files.test/a/b.bin"
    assert cropped("files.test/a/very/long/way/model.bin", 24) == "files.t…ng/way/model.bin"
    assert cropped("files.test/a/very/long/way/model.bin", 23) == "model.bin"
    assert cropped("files.test/a/very/long/folder/", 16) == "folder"
    assert cropped(name_text(LAYER), 30) == "quay.test…eam/app 0123456789ab"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (200_000, "2 days"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_units_are_written_once_if_they_are_the_same() -> None:
    assert done_text(a_download()) == "50.0 of 100.0 MiB"
    assert done_text(a_download(size_bytes=2048 * MIB)) == "50.0 MiB of 2.0 GiB"
    assert done_text(a_download(size_bytes=-1)) == "50.0 MiB"


def test_what_compression_saved_is_told_once_there_is_something() -> None:
    status = msgspec.structs.replace(a_status(), saved_bytes=3 * MIB, codec_cpu_s=0.25)

    told = "compression saved 3.0 MiB for 0.2 CPU s"
    assert told in lines(status, rates_of(status))
    assert any(told in line for line in drawn(status))
    assert not any("compression" in line for line in lines(a_status(), rates_of(a_status())))
