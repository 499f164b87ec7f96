"""The table of `compression.py`: what was measured beside what was wanted."""

from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]
COMPRESSIBLE = ("python", "elf", "json")
HEADERS = 1.06  # Ethernet, IP, TCP, and acknowledgements of what is sent on


def report(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the report; of each part and content the last row counts."""
    latest: dict[tuple[str, str], Row] = {(row["part"], row["set"]): row for row in rows}
    nginx = {name: row for (part, name), row in latest.items() if part == "nginx"}
    parts = sorted({part for part, _ in latest if part != "nginx"})
    yield from _wire(latest, nginx, parts)
    yield from _time(latest, parts)
    for part in parts:
        yield from _cpu(latest, nginx, part)


def _ok(is_ok: bool) -> str:  # noqa: FBT001
    return "ok" if is_ok else "MISSED"


def _wire(latest: dict[tuple[str, str], Row], nginx: dict[str, Row], parts: list[str]) -> list[str]:
    lines = [
        "wire bytes / content: what the interfaces of the hosts received, with all headers; and",
        "in brackets the same / that with compression off, in which headers cancel out. Wanted of",
        "the second: at most 1.1 x zstd -3 of the whole file (python, elf, json), 0.75 (bf16).",
        "",
        "content    zstd -3   " + "".join(f"{part:>22}" for part in parts if "x0" not in part),
    ]
    for name, row in nginx.items():
        zstd = row["zstd3"] / row["size"]
        limit = 0.75 if name == "bf16" else 1.1 * zstd if name in COMPRESSIBLE else 1.01
        line = f"{name:10} {zstd:7.3f}   "
        for part in parts:
            if "x0" in part or (part, name) not in latest:
                continue
            found = latest[part, name]
            wire = found["on"]["wire_bytes"] / found["size"] / found["hosts"]
            ratio = found["on"]["wire_bytes"] / found["off"]["wire_bytes"]
            line += f"  {wire:6.3f} ({ratio:.3f}) {_ok(ratio <= limit):>5}"
        lines.append(line)
    return [*lines, ""]


def _time(latest: dict[tuple[str, str], Row], parts: list[str]) -> list[str]:
    lines = [
        "seconds until the last host has it, compression on / off (the medians); wanted: 1.03",
        "",
        "content   " + "".join(f"{part:>26}" for part in parts),
    ]
    for name in dict.fromkeys(name for part, name in latest if part != "nginx"):
        line = f"{name:10}"
        for part in parts:
            if (part, name) in latest:
                row = latest[part, name]
                on, off = row["on"]["last_s"], row["off"]["last_s"]
                line += f"  {on:5.2f}/{off:5.2f} = {on / off:.2f} {_ok(on <= 1.03 * off):>6}"
            else:
                line += " " * 26
        lines.append(line)
    return [*lines, ""]


def _cpu(latest: dict[tuple[str, str], Row], nginx: dict[str, Row], part: str) -> list[str]:
    lines = [
        f"CPU seconds at {part}, on / off: the SuperNode, all hosts; and CPU nanoseconds",
        "per byte that the wire saved, against nginx and eight curls (gzip); wanted: a tenth",
        "",
        "content     SuperNode on/off     hosts on/off   ns/byte: ours   nginx   ours/nginx",
    ]
    for (row_part, name), row in latest.items():
        if row_part != part:
            continue
        on, off = row["on"], row["off"]
        line = f"{name:10}  {on['supernode_s']:6.2f} / {off['supernode_s']:5.2f}"
        line += f"   {on['hosts_s']:7.2f} / {off['hosts_s']:5.2f}"
        saved = off["wire_bytes"] - on["wire_bytes"]
        if name in nginx and saved > 0.02 * off["wire_bytes"]:
            ours = on["supernode_s"] + on["hosts_s"] - off["supernode_s"] - off["hosts_s"]
            each = nginx[name]
            theirs = sum(each["on"][key] - each["off"][key] for key in ("server_s", "clients_s"))
            theirs_saved = each["off"]["wire_bytes"] - each["on"]["wire_bytes"]
            ours_ns, theirs_ns = ours / saved * 1e9, theirs / max(theirs_saved, 1) * 1e9
            ratio = ours_ns / theirs_ns
            line += f"   {ours_ns:12.2f} {theirs_ns:8.2f} {ratio:10.2f} {_ok(ratio <= 0.1):>7}"
        lines.append(line)
    return [*lines, ""]
