"""Collect a framework's tests only where it is installed: versions collide, so each has its own environment.

`scripts/test --full` makes these environments and runs the tests in each.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from nbtape import AsyncJupyterCodeExecutor, JupyterCodeExecutor

#: The package that each file or directory of tests needs.
FRAMEWORKS = {
    "smolagents": "smolagents",
    "test_ag2.py": "autogen",
    "test_ag2_1.py": "ag2",
    "test_agent_framework.py": "agent_framework",
    "test_autogen.py": "autogen_agentchat",
    "test_langchain.py": "langchain",
    "test_mcp.py": "mcp",
    "test_openai_agents.py": "agents",
    "test_pydantic_ai.py": "pydantic_ai",
    "test_smolagents.py": "smolagents",
}
collect_ignore = [name for name, package in FRAMEWORKS.items() if find_spec(package) is None]
if len(collect_ignore) == len(FRAMEWORKS):
    collect_ignore.append("test_notebooks.py")  # replays the notebook of each installed framework


@pytest.fixture(params=[JupyterCodeExecutor, AsyncJupyterCodeExecutor])
def kind(request: pytest.FixtureRequest) -> Any:
    """The kinds of executor."""
    return request.param
