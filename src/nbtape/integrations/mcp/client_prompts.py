"""Prompts that a person picks in an MCP client to begin with: what to ask for, and how to use the tools for it."""

from __future__ import annotations

from typing import Annotated, Final

from mcp.server.mcpserver.prompts import Prompt
from pydantic import Field

_HOW: Final = """
Take small steps with run_code and look at each result before the next. Explain each step to the people who will read \
the notebook with add_markdown. If code fails, repair it and continue: the kernel keeps its state."""


def try_kernel() -> str:
    """See what the kernel has: its Python, its packages, and the files in its directory."""
    return (
        "Use run_code to find out what this Jupyter kernel has: the version of Python, the packages for data analysis "
        "that are installed, the working directory and the files in it. Then draw a small plot, to see that plots "
        "work. Summarize in a few lines what I can do here."
    )


def explore_data(
    path: Annotated[str, Field(description="A data file, as the kernel sees it.")],
    question: Annotated[str, Field(description="What you want to know.")] = "",
) -> str:
    """Explore a data file: its columns, its quality, and an answer to your question."""
    asked = f"\n\nMy question: {question}" if question else ""
    return (
        f"Explore the data file {path} in the Jupyter kernel. Load it, show its columns, types and missing values, "
        f"look for what is wrong or surprising in it, and draw the plots that show it best.{asked}\n{_HOW}\nAt the "
        "end, state your findings, each with the cell that shows it, and what they do not show."
    )


def summarize_notebook() -> str:
    """Summarize what was done in the notebook so far, and add the summary to it."""
    return (
        "Read the whole notebook with read_notebook. Summarize what was done, what was found, and what failed, with "
        "the numbers of the cells. Claim nothing that no cell shows. Add the summary with add_markdown."
    )


def all_prompts() -> list[Prompt]:
    """The prompts, with the titles that people see."""
    titles = {try_kernel: "Try the kernel", explore_data: "Explore a data file", summarize_notebook: "Summarize"}
    return [Prompt.from_function(prompt, title=title) for prompt, title in titles.items()]
