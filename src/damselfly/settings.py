"""From a file and flags to the options of the services.

One TOML file, with a table per part::

    [daemon]
    supernode = "supernode.example:8002"
    location = "eu/zone-a/rack-7"

    [daemon.cache]
    quota = "200GiB"

Keys are the fields of `services/options.py` without their unit; values carry it: `"20MiB"`,
`"10m"`, or a plain number of bytes or seconds. Flags win over the file.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from damselfly.errors import SettingsError, UsageError
from damselfly.services.options import DaemonOptions, ProxyOptions, SuperNodeOptions

O = TypeVar("O")  # noqa: E741  # a class of options

PARTS: Final[dict[str, type]] = {"supernode": SuperNodeOptions, "daemon": DaemonOptions}

_BYTES: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "k": 1 << 10,
    "m": 1 << 20,
    "g": 1 << 30,
    "t": 1 << 40,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_BITS: Final = {"bit": 0.125, "kbit": 125.0, "mbit": 125e3, "gbit": 125e6, "tbit": 125e9}
_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES_STOP: Final = 2.0**63  # files are no longer
SECONDS_STOP: Final = 9e9  # systems count the nanoseconds of a wait in 63 bits
_QUANTITY: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_UNITS: Final = ("_bytes_per_s", "_bytes", "_s")


def parse_bytes(text: str) -> int:
    """Return the number in `20MiB`, `1.5GB` or `4096`.

    Raises:
        ValueError: It is none; the message says what one looks like.
    """
    return int(_quantity(text.removesuffix("/s"), _BYTES, "a size such as 20MiB, 1.5GB or 4096"))


def parse_rate(text: str) -> int:
    """Return the bytes per second in `20MiB`, `125MB/s` or `1Gbit/s`.

    Raises:
        ValueError: It is none; the message says what one looks like.
    """
    units = {**_BYTES, **_BITS}
    return int(_quantity(text.removesuffix("/s"), units, "a rate such as 20MiB or 1Gbit/s"))


def parse_seconds(text: str) -> float:
    """Return the number in `10m`, `1.5h` or `30`.

    Raises:
        ValueError: It is none; the message says what one looks like.
    """
    return _quantity(text, _SECONDS, "a time such as 30s, 10m or 1.5h", below=SECONDS_STOP)


def _quantity(
    text: str, units: Mapping[str, float], expected: str, *, below: float = BYTES_STOP
) -> float:
    match = _QUANTITY.fullmatch(text)
    if not match or match[2].lower() not in units:
        raise ValueError(f"{text!r} is not {expected}")
    value = float(match[1]) * units[match[2].lower()]
    if value >= below:
        raise ValueError(f"{text!r} is more than can be counted, and not {expected}")
    return value


def key_of(field_name: str) -> str:
    """Return the key of a field in the file: its name without the unit."""
    for unit in _UNITS:
        if field_name.endswith(unit):
            return field_name.removesuffix(unit)
    return field_name


def read_file(path: str) -> dict[str, Any]:
    """Return the tables of a settings file.

    Raises:
        SettingsError: It cannot be read, or names a part that does not exist.
    """
    tables = _tables_of(path)
    for part, table in tables.items():
        if part not in PARTS:
            raise SettingsError(where=path, key=part, expected=_unknown(part, PARTS))
        if not isinstance(table, dict):
            raise SettingsError(where=path, key=part, expected="must be a table")
    return tables


def _tables_of(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            tables = tomllib.load(file)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise SettingsError(where=path, key="file", expected=f"cannot be read: {reason}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(where=path, key="file", expected=f"is no TOML: {exc}") from exc
    return tables


def options_from(path: str, kind: type[O], *, name: str) -> O:
    """Return options that fill a file of their own, such as a scenario of the simulator.

    Args:
        path: The file.
        kind: The class of options.
        name: What messages call it.

    Raises:
        SettingsError: It cannot be read, a key is unknown, or a value cannot be used.
    """
    return _build(kind, _tables_of(path), {}, where=path, prefix=name)


def options_for(
    kind: type[O], *, file: str = "", tables: Mapping[str, Any], flags: Mapping[str, Any]
) -> O:
    """Return the options of a part.

    Args:
        kind: The class of options.
        file: Where the tables came from, for messages.
        tables: The part's table in the file.
        flags: {dotted field name: value} of the flags that were given.

    Raises:
        SettingsError: A key is unknown, or a value cannot be used.
    """
    nested: dict[str, Any] = {}
    for name, value in flags.items():
        first, _, rest = name.partition(".")
        if rest:
            nested.setdefault(first, {})[rest] = value
        else:
            nested[first] = value
    part = next(name for name, options in PARTS.items() if options is kind)
    return _build(kind, tables, nested, where=file or "flags", prefix=part)


def _build(
    kind: type[O],
    tables: Mapping[str, Any],
    flags: Mapping[str, Any],
    *,
    where: str,
    prefix: str,
) -> O:
    hints = get_type_hints(kind)
    by_key = {key_of(name): name for name in hints}
    values: dict[str, Any] = {}
    for key in tables:
        if key not in by_key:
            raise SettingsError(where=where, key=f"{prefix}.{key}", expected=_unknown(key, by_key))
    for key, name in by_key.items():
        path = f"{prefix}.{key}"
        if is_dataclass(hints[name]):
            table, flag = tables.get(key, {}), flags.get(name, {})
            if not isinstance(table, dict):
                raise SettingsError(where=where, key=path, expected="must be a table")
            values[name] = _build_nested(kind, name, hints[name], table, flag, where, path)
        elif name in flags:
            values[name] = _convert(flags[name], hints[name], name, where="flags", key=path)
        elif key in tables:
            values[name] = _convert(tables[key], hints[name], name, where=where, key=path)
    try:
        return kind(**values)
    except (ValueError, UsageError) as exc:  # of the class itself, or of what reads such a text
        raise SettingsError(where=where, key=prefix, expected=str(exc)) from exc


def _build_nested(  # one step of a recursion
    kind: type,
    name: str,
    nested_kind: type,
    table: Mapping[str, Any],
    flags: Mapping[str, Any],
    where: str,
    path: str,
) -> Any:  # noqa: ANN401
    """Build nested options; what is not set is as the part has it, which may differ."""
    factory = next(field for field in fields(kind) if field.name == name).default_factory
    assert factory is not MISSING
    usual = factory()
    stated = {key_of(f.name): getattr(usual, f.name) for f in fields(usual)}
    return _build(nested_kind, {**stated, **table}, flags, where=where, prefix=path)


def _build_list(kind: Any, value: Any, where: str, path: str) -> tuple[Any, ...]:  # noqa: ANN401
    """Build a list of values, or of options: `[[daemon.proxy.rules]]` for each of them."""
    if isinstance(value, tuple):
        return value  # the default, as it stands in the class; a file has lists
    if not isinstance(value, list):
        raise SettingsError(where=where, key=path, expected="must be a list")
    built: list[Any] = []
    for number, each in enumerate(value, start=1):
        if not is_dataclass(kind):
            built.append(_convert(each, kind, "", where=where, key=path))
        elif isinstance(each, dict):
            assert isinstance(kind, type)
            built.append(_build(kind, each, {}, where=where, prefix=f"{path}[{number}]"))
        else:
            raise SettingsError(where=where, key=path, expected=f"write it as [[{path}]] tables")
    return tuple(built)


def _convert(value: Any, hint: Any, name: str, *, where: str, key: str) -> Any:  # noqa: ANN401
    if get_origin(hint) is tuple:
        return _build_list(get_args(hint)[0], value, where, key)
    try:
        return _converted(value, hint, name)
    except ValueError as exc:
        raise SettingsError(where=where, key=key, expected=str(exc)) from exc


def _converted(value: Any, hint: Any, name: str) -> Any:  # noqa: ANN401
    if isinstance(value, str) and name.endswith("_s") and not name.endswith("_per_s"):
        value = parse_seconds(value)
    elif isinstance(value, str) and name.endswith("_per_s"):
        value = parse_rate(value)
    elif isinstance(value, str) and name.endswith(_UNITS):
        value = parse_bytes(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if value not in [member.value for member in hint]:
            raise ValueError(f"must be one of {', '.join(member.value for member in hint)}")
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(f"must be {_word(hint)}, not {value!r}")
    return value


def _word(hint: type) -> str:
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]


def _unknown(key: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"is not a setting; {hint}"


def read_proxy_secret(options: ProxyOptions) -> str:
    """Return what proxy clients must know: of a file, else of the environment; empty is nothing.

    Raises:
        SettingsError: The file cannot be read.
    """
    return read_secret(
        options.auth_file, "DAMSELFLY_PROXY_AUTH", part="daemon", key="proxy.auth_file"
    )


def read_secret(path: str, variable: str, *, key: str, part: str = "supernode") -> str:
    """Return the secret in a file, else that in the environment; empty is none.

    Raises:
        SettingsError: The file cannot be read.
    """
    if not path:
        return os.environ.get(variable, "").strip()
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        expected = f"{path} cannot be read: {getattr(exc, 'strerror', exc)}"
        raise SettingsError(where=part, key=key, expected=expected) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value in force."""

    key: str
    value: Any
    is_default: bool


def settings_in_force(part: str, options: Any) -> Iterator[Setting]:  # noqa: ANN401
    """Yield each setting of a part, by dotted key."""
    yield from _settings(part, options, type(options)())


def _settings(prefix: str, options: Any, usual: Any) -> Iterator[Setting]:  # noqa: ANN401
    for field in fields(options):
        value, default = getattr(options, field.name), getattr(usual, field.name)
        key = f"{prefix}.{key_of(field.name)}"
        if is_dataclass(value):
            yield from _settings(key, value, default)
        elif isinstance(value, tuple) and any(is_dataclass(each) for each in value):
            for number, each in enumerate(value, start=1):
                is_default = value == default
                yield Setting(key=f"{key}[{number}]", value=str(each), is_default=is_default)
        else:
            yield Setting(key=key, value=value, is_default=value == default)
