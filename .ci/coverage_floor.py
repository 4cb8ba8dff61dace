"""A pytest plugin: each pure part keeps a branch coverage of at least 95 %, or the run fails.

pytest-cov's own `--cov-fail-under` looks at the total only, where one part's good figure hides
another's bad one. Loaded by `make test`; a run of some tests alone has no floor.
"""
# ruff: noqa: INP001 - a plugin that pytest finds by PYTHONPATH, not part of a package

import io
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

FLOOR = 95.0
PARTS = ("events", "runs", "workflow")
FIGURES = pytest.StashKey[dict[str, float]]()


def measure(config: pytest.Config) -> dict[str, float]:
    """Part → percent of its lines and branches that ran, from the data that pytest-cov wrote."""
    measured = coverage.Coverage(config_file=str(Path(__file__).with_name("coverage.ini")))
    measured.load()
    figures = {}
    for part in PARTS:
        try:
            figures[part] = measured.report(
                include=f"*/agentworkflow/{part}/*", file=io.StringIO(), show_missing=False
            )
        except coverage.exceptions.NoDataError:
            figures[part] = 0.0
    config.stash[FIGURES] = figures
    return figures


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """After pytest-cov has combined the workers' data: a part under the floor fails the run."""
    answer = yield
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return answer
    if any(figure < FLOOR for figure in measure(session.config).values()):
        session.testsfailed += 1
    return answer


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The figures, each with its verdict."""
    if FIGURES not in config.stash:
        return
    terminalreporter.section("branch coverage of the pure parts")
    for part, figure in config.stash[FIGURES].items():
        verdict = "ok" if figure >= FLOOR else f"FAILED: less than {FLOOR:.0f} %"
        terminalreporter.write_line(f"agentworkflow.{part:<10} {figure:5.1f} %  {verdict}")
