"""Record the effect of each fault: a line of JSON for each marked test, in the file that `--faults` names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nbtape import AsyncJupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from nbtape import CodeResult

#: What the running test observed: status, note and seconds of the first block that did not simply succeed.
_seen: list[tuple[str, str, float]] = []


def see(status: str, note: str, seconds: float) -> None:
    """Record how a block ended."""
    _seen.append((status, note, seconds))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", metavar="FILE", help="write down what is seen of each fault")


@pytest.fixture(autouse=True)
def _observed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.node.get_closest_marker("fault") is None or request.config.getoption("--faults") is None:
        yield
        return
    execute = AsyncJupyterCodeExecutor.execute_code_blocks

    async def watch(self: AsyncJupyterCodeExecutor, *arguments: Any, **options: Any) -> CodeResult:
        result = await execute(self, *arguments, **options)
        for cell in result.cells:
            see(cell.status, cell.note, cell.duration)
        return result

    monkeypatch.setattr(AsyncJupyterCodeExecutor, "execute_code_blocks", watch)
    _seen.clear()
    yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    mark, file = item.get_closest_marker("fault"), item.config.getoption("--faults")
    if report.when == "call" and mark is not None and file is not None:
        telling = [each for each in _seen if each[0] != "ok" or each[1]]
        status, note, seconds = next(iter(telling or _seen), ("", mark.kwargs.get("seen", ""), 0.0))
        observation = {
            "fault": mark.args[0],
            "kind": mark.kwargs.get("kind") or getattr(getattr(item, "cls", None), "kind", "local"),
            "passed": report.passed,
            "status": status,
            "note": note,
            "seconds": max([seconds, *(each[2] for each in _seen if each[0] == status)]),
        }
        with open(file, "a", encoding="utf-8") as lines:  # noqa: PTH123  (uses the name as given)
            lines.write(json.dumps(observation) + "\n")
    return report
