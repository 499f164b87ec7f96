"""All checks in their order: along the way that a pull takes, then the host itself."""

from typing import Final

from damselfly.services.doctor.engines import check_engines
from damselfly.services.doctor.findings import Check, Finding, Scene
from damselfly.services.doctor.host import check_backlog, check_ca, check_disk, check_open_files
from damselfly.services.doctor.registries import check_registries
from damselfly.services.doctor.swarm import (
    check_clock,
    check_daemon,
    check_ports,
    check_proxy,
    check_session,
    check_supernode,
)

CHECKS: Final[tuple[Check, ...]] = (
    check_engines,
    check_daemon,
    check_ports,
    check_proxy,
    check_session,
    check_supernode,
    check_clock,
    check_registries,
    check_ca,
    check_disk,
    check_open_files,
    check_backlog,
)


def examine(scene: Scene) -> list[Finding]:
    """Make every check, also after one has failed."""
    return [finding for check in CHECKS for finding in check(scene)]
