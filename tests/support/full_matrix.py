"""The option `--full`; without it, tests that repeat a promise over more inputs or kinds of kernel are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from _pytest.mark import ParameterSet

#: The number of tests that each process left out.
_LEFT_OUT: Final = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run every test on every kind of kernel, and the long ones")


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("usual", max_examples=40, deadline=None)
    settings.register_profile("full", max_examples=500, deadline=None)
    settings.load_profile("full" if config.getoption("--full") else "usual")


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Return whether `--full` is given; a test that uses this repeats its promise more often then."""
    return bool(pytestconfig.getoption("--full"))


def first(keep: int, values: Sequence[Any]) -> list[ParameterSet]:
    """Return values for `parametrize`; without `--full`, only the first `keep` of them run."""
    arguments = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*each, marks=() if n < keep else pytest.mark.full) for n, each in enumerate(arguments)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
    config.stash[_LEFT_OUT] = len(left_out)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:  # a pytest-xdist worker
        output["left_out"] = session.config.stash.get(_LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Handle the end of a pytest-xdist worker; all workers have collected the same tests."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Generator[None]:
    yield
    if left_out := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.write_line(f"{left_out} more tests run with --full.")
