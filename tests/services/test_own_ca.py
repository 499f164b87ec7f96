"""The daemon's own CA: made once, kept, and never replaced silently."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509

from damselfly.clock import wall_s
from damselfly.errors import StorageUnusableError
from damselfly.services import own_ca
from damselfly.services.ca_files import certificate_path, key_path
from damselfly.services.own_ca import load_ca, make_ca


def test_it_is_made_once_and_its_key_is_for_its_user_alone(tmp_path: Path) -> None:
    make_ca(str(tmp_path))
    first = load_ca(str(tmp_path))
    make_ca(str(tmp_path))

    assert load_ca(str(tmp_path)).fingerprint == first.fingerprint
    assert key_path(str(tmp_path)).stat().st_mode & 0o777 == 0o600
    assert first.pem == certificate_path(str(tmp_path)).read_text()
    constraints = first.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.value.ca


def test_a_key_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    make_ca(str(tmp_path))
    key_path(str(tmp_path)).chmod(0o644)

    load_ca(str(tmp_path))

    assert key_path(str(tmp_path)).stat().st_mode & 0o777 == 0o600


def test_what_a_kill_left_behind_is_no_ca(tmp_path: Path) -> None:
    make_ca(str(tmp_path))
    certificate_path(str(tmp_path)).unlink()  # the key is written first

    make_ca(str(tmp_path))

    load_ca(str(tmp_path))


@pytest.mark.parametrize("flaw", ["none", "certificate", "key", "other key", "expired", "folder"])
def test_what_cannot_be_used_is_said_and_stays(
    tmp_path: Path, flaw: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(tmp_path / "data")
    (tmp_path / "data").mkdir()
    if flaw != "none":
        make_ca(data)
    match flaw:
        case "certificate":
            certificate_path(data).write_text("garbage")
        case "key":
            key_path(data).write_text("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n")
        case "other key":
            (tmp_path / "other").mkdir()
            make_ca(str(tmp_path / "other"))
            key_path(data).write_bytes(key_path(str(tmp_path / "other")).read_bytes())
        case "expired":
            later = dt.datetime(2100, 1, 1, tzinfo=dt.UTC).timestamp()
            monkeypatch.setattr(own_ca, "wall_s", lambda: later)
        case "folder":
            certificate_path(data).unlink()
            certificate_path(data).mkdir()
        case _:
            pass

    words = {
        "none": "holds no CA",
        "other key": "of another CA",
        "expired": "has expired",
        "folder": "cannot be read",
    }
    with pytest.raises(StorageUnusableError, match=words.get(flaw, "is damaged")):
        load_ca(data)


def test_certificates_are_kept_within_bounds_and_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ca(str(tmp_path))
    ca = load_ca(str(tmp_path))
    monkeypatch.setattr(own_ca, "LEAVES_MAX", 2)

    first = ca.context_for("a.example")
    assert ca.context_for("a.example") is first
    ca.context_for("b.example")
    ca.context_for("a.example")
    ca.context_for("::1")
    assert ca.context_for("a.example") is first  # used later than b.example
    now = wall_s()
    monkeypatch.setattr(own_ca, "wall_s", lambda: now + 2 * own_ca.LEAF_RENEW_S)
    assert ca.context_for("a.example") is not first


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("in the way")

    with pytest.raises(StorageUnusableError, match="cannot be written"):
        make_ca(str(tmp_path))
