"""What holds for all tests: in CI nothing is skipped, and no test is timed by Hypothesis."""

import os
import signal
from collections.abc import Generator

import pytest
import structlog
from hypothesis import settings

IS_CI = os.environ.get("CI", "").lower() in {"1", "true"}

# Whoever starts the tests in the background may have made them, and so the programs that they
# start, deaf to Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine is slow now and then; pytest-timeout catches what hangs. In CI Hypothesis
# takes its own profile: no deadline, and the same examples each time.
settings.register_profile("local", deadline=None)
if not IS_CI:
    settings.load_profile("local")


@pytest.fixture(autouse=True)
def _log_is_set_up_by_no_other_test() -> Generator[None]:
    """Undo what a test's command or client did to the log; the next may look at its events."""
    yield
    structlog.reset_defaults()


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure; what CI does not run, nobody knows to work."""
    if IS_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and in CI a skip is a failure: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report
