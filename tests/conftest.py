"""The whole run: workers, the exit code and the last line.

The last line is `N passed, N failed, N skipped`. An error counts as failed, and so does an expected failure: there are
to be none. The exit code is 0 only if something passed and nothing failed.
"""
import os
import random

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """As many workers as processors, unless -n says otherwise (-n 0: none) or one test is asked for."""
    option = config.option
    if hasattr(config, "workerinput") or "PYTEST_XDIST_WORKER" in os.environ:
        return
    if hasattr(option, "numprocesses") and option.numprocesses is None and not option.collectonly:
        if not any("::" in argument for argument in config.args):
            option.numprocesses = "auto"
            if option.dist == "no":
                option.dist = "worksteal"


def pytest_collection_modifyitems(items):
    """Emulated processors take longest: they begin."""
    items.sort(key=lambda item: item.path.name != "test_cross.py")


def pytest_configure(config):
    """A seed that is new in each run, the same for all workers; SEED repeats one."""
    if not hasattr(config, "workerinput"):
        os.environ["RLIMIT_TEST_SEED"] = os.environ.get("SEED") or str(random.SystemRandom().randrange(1, 10**9))


def counts(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    stats = reporter.stats if reporter is not None else {}
    passed, skipped = len(stats.get("passed", ())), len(stats.get("skipped", ()))
    failed = sum(len(stats.get(key, ())) for key in ("failed", "error", "xfailed", "xpassed"))
    return passed, failed, skipped


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    passed, failed, _ = counts(session.config)
    if session.exitstatus == pytest.ExitCode.OK:
        if failed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif not passed:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    print("seed %s (SEED=... repeats it)" % os.environ["RLIMIT_TEST_SEED"])
    print("%d passed, %d failed, %d skipped" % counts(config), flush=True)


def pytest_report_header(config):
    import toolchain
    return ["tests whose tools are absent: " + ("fail" if toolchain.tools_are_required() else "are skipped"),
            "seed of this run: " + os.environ["RLIMIT_TEST_SEED"]]
