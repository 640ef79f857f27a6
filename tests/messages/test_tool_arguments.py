"""The code that a model passes to a tool is run without the fence around it."""

from __future__ import annotations

import pytest

from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.tool_arguments import tool_block


@pytest.mark.parametrize(
    "argument",
    [
        "```python\nprint(5)\n```",
        "```py\nprint(5)\n```\n",
        "\n\n```\nprint(5)\n```  ",
        "~~~python\nprint(5)\n~~~",
        "````python\nprint(5)\n````",
        "```python\r\nprint(5)\r\n```",
        "\ufeff```python\nprint(5)\n```",
        "  ```python\n  print(5)\n  ```",
        "```python\nprint(5)",
        "```python\nprint(5)```",
        "```print(5)```",
        "```python print(5)```",
        "`print(5)`",
        "print(5)",
    ],
)
def test_a_fence_around_the_whole_argument_is_taken_off(argument: str) -> None:
    assert tool_block(argument) == CodeBlock("print(5)", "python")


@pytest.mark.parametrize(
    "argument",
    [
        "print('```')",
        "'''\n```\n'''",
        "x = 1\n```python\ny = 2\n```",
        "```python\na\n```\n```python\nb\n```",
        "",
        "`",
        "  x",
    ],
)
def test_any_other_argument_is_run_as_it_is(argument: str) -> None:
    assert tool_block(argument) == CodeBlock(argument, "python")


def test_a_sample_in_a_message_is_code_in_an_argument() -> None:
    assert tool_block("```\nx\n```") == CodeBlock("x", "python")


@pytest.mark.parametrize(("label", "language"), [("bash", "bash"), ("sh", "bash"), ("julia", "julia"), ("", "python")])
def test_the_label_of_the_fence_is_the_language(label: str, language: str) -> None:
    assert tool_block(f"```{label}\nx\n```") == CodeBlock("x", language)


def test_without_a_label_the_language_is_that_of_the_tool() -> None:
    assert tool_block("```\nx\n```", "") == CodeBlock("x", "")
    assert tool_block("x", "bash") == CodeBlock("x", "bash")
