"""smolagents' `CodeAgent` on kernels of nbtape: real agents, real kernels and a scripted model."""

from __future__ import annotations

import base64
import datetime
import decimal
import io
import json
import math
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import PIL.Image
import pytest
from nbclient import NotebookClient
from reading import code_cells, read_notebook, stream_text
from smolagents import (
    AgentError,
    ChatMessage,
    CodeAgent,
    FinalAnswerTool,
    MessageRole,
    Model,
    SerializationError,
    Tool,
    tool,
)
from smolagents.models import ChatMessageStreamDelta
from tool_runs import statuses

from nbtape import CodeBlock, JupyterCodeExecutor, LocalJupyterServer, ServerError, replay
from nbtape.integrations.smolagents import JupyterExecutor
from nbtape.integrations.smolagents.final_answers import MIME_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator


class ScriptedModel(Model):  # type: ignore[misc,unused-ignore]
    """Returns scripted messages in order, and keeps its input."""

    def __init__(self, *says: str) -> None:
        super().__init__(model_id="scripted")
        self.says = list(says)
        self.told: list[Any] = []

    def generate(self, messages: list[ChatMessage], *_args: Any, **_options: Any) -> ChatMessage:
        self.told = messages
        return ChatMessage(role=MessageRole.ASSISTANT, content=self.says.pop(0))


class StreamingModel(ScriptedModel):
    """The same, one letter at a time."""

    def generate_stream(self, *args: Any, **options: Any) -> Iterator[ChatMessageStreamDelta]:
        for letter in self.generate(*args, **options).content:
            yield ChatMessageStreamDelta(content=letter)


def step(code: str, thought: str = "Next.") -> str:
    """Return a model's message up to the closing tag, which stops it."""
    return f"{thought}\n<code>\n{code}\n"


def agent(executor: JupyterExecutor, *says: str, tools: tuple[Any, ...] = (), **options: Any) -> CodeAgent:
    return CodeAgent(tools=list(tools), model=ScriptedModel(*says), executor=executor, verbosity_level=-1, **options)


def observations(ran: CodeAgent) -> list[str]:
    """Return what the model got for each step: its output or its error."""
    steps = [each for each in ran.memory.steps if hasattr(each, "observations")]
    return [str(each.error) if each.error else each.observations for each in steps]


def markdown(path: Path) -> list[str]:
    return [cell["source"] for cell in read_notebook(path)["cells"] if cell["cell_type"] == "markdown"]


@tool
def add(one: int, other: int) -> int:
    """Adds two numbers.

    Args:
        one: A number.
        other: Another number.
    """
    return one + other


FIBONACCI = """\
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, add(a, b)
    return a
print("defined")
fibonacci(n)"""


@pytest.fixture
def executor(output_dir: Path, leaves_nothing: None) -> Iterator[JupyterExecutor]:  # noqa: ARG001  (stops it in time)
    executor = JupyterExecutor(output_dir=output_dir, timeout=30)
    yield executor
    executor.cleanup()


@pytest.fixture
def ready(executor: JupyterExecutor) -> JupyterExecutor:
    """Return an executor that accepts final answers."""
    executor.send_tools({"final_answer": FinalAnswerTool()})
    return executor


# A run of an agent, and its notebook


def test_a_failed_attempt_is_repaired_and_the_notebook_shows_both(executor: JupyterExecutor) -> None:
    says = [step("fibonacci(n)", "I try."), step(FIBONACCI, "I repair."), step("final_answer(fibonacci(n))", "Done.")]
    with agent(executor, *says, tools=(add,)) as ran:
        executor.listen_to(ran)
        assert ran.run("The Fibonacci number?", additional_args={"n": 14}) == 377
    told = observations(ran)
    assert "NameError: name 'fibonacci' is not defined" in told[0]
    assert "\x1b" not in told[0]
    assert told[1:] == [
        "Execution logs:\ndefined\nLast output from code snippet:\n377",
        "Execution logs:\nLast output from code snippet:\n377",
    ]
    cells = code_cells(executor.notebook)
    assert [cell["source"] for cell in cells[2:]] == ["fibonacci(n)", FIBONACCI, "final_answer(fibonacci(n))"]
    assert statuses(executor.notebook) == ["ok", "ok", "error", "ok", "ok"]
    assert [output["data"]["text/plain"] for output in cells[-1]["outputs"]] == ["Final answer: 377"]


def test_the_notebook_has_messages_and_code_in_order(executor: JupyterExecutor) -> None:
    with agent(executor, step("final_answer(add(n, 1))", "I add."), tools=(add,), name="adder") as ran:
        executor.listen_to(ran)
        executor.listen_to(ran)  # has no effect
        ran.run("Add one.", additional_args={"n": 1})
    kinds = [cell["cell_type"] for cell in read_notebook(executor.notebook)["cells"]]
    assert kinds == ["markdown", "markdown", "code", "markdown", "code", "markdown", "code"]
    task, variables, tools, said = markdown(executor.notebook)
    assert task.startswith("**Task**\n\nAdd one.")
    assert variables.startswith("**Variables of the agent**: `n`")
    assert tools.startswith("**Tools of the agent**: `add`, `final_answer`")
    assert said == "I add."
    assert code_cells(executor.notebook)[0]["source"] == "n = 1"
    assert read_notebook(executor.notebook)["cells"][5]["metadata"]["nbtape"] == {"agent": "adder"}


def test_a_replay_gives_the_same_outputs(executor: JupyterExecutor) -> None:
    with agent(executor, step("n + missing"), step("final_answer(add(n, 1))"), tools=(add,)) as ran:
        assert ran.run("Add one.", additional_args={"n": 1}) == 2
    report = replay(executor.notebook)
    assert [cell.verdict for cell in report.cells] == ["same", "same", "same_error", "same"]


def test_any_tool_can_run_the_notebook_again(executor: JupyterExecutor) -> None:
    with agent(executor, step("final_answer(add(n, 1))\nprint('never')"), tools=(add,)) as ran:
        ran.run("Add one.", additional_args={"n": 1})
    cells = [cell for cell in code_cells(executor.notebook) if "tags" not in cell["metadata"]]
    assert len(cells) == 3
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell["source"]) for cell in cells])
    NotebookClient(document, kernel_name="python3").execute()
    assert document["cells"][-1]["outputs"] == cells[-1]["outputs"]


def test_a_second_run_of_an_agent_uses_the_same_variables(executor: JupyterExecutor) -> None:
    with agent(executor, step("x = 6\nfinal_answer(x)"), step("final_answer(x * 7)")) as ran:
        assert ran.run("First.") == 6
        assert ran.run("Second.", reset=False) == 42


def test_a_tool_overwritten_by_code_is_available_in_the_next_run(executor: JupyterExecutor) -> None:
    with agent(executor, step("answer = final_answer\nfinal_answer = 3\nanswer(1)"), step("final_answer(2)")) as ran:
        assert ran.run("First.") == 1
        assert ran.run("Second.") == 2


# The final answer


def test_code_stops_at_the_final_answer(ready: JupyterExecutor) -> None:
    output = ready("print('before')\ntry:\n    final_answer(1)\nexcept Exception:\n    print('no')\nprint('never')")
    assert (output.output, output.logs, output.is_final_answer) == (1, "before\n", True)
    assert not ready("print('after')").is_final_answer


def test_a_final_answer_can_be_given_from_anywhere_in_the_code(ready: JupyterExecutor) -> None:
    ready("def finish(x):\n    final_answer(x)")
    assert ready("for x in range(9):\n    if x == 5: finish(x)").output == 5
    assert ready("import asyncio\nawait asyncio.sleep(0)\nfinal_answer(answer=6)").output == 6


ANSWERS: dict[str, Any] = {
    "None": None,
    "'text \\x1b[31m \\U0001f600 \\u2028'": "text \x1b[31m \U0001f600 \u2028",
    "[1, 2.5, True, -0.0]": [1, 2.5, True, -0.0],
    "float('inf')": math.inf,
    "(1, {2, 3}, frozenset({4}), b'\\0', 1j)": (1, {2, 3}, frozenset({4}), b"\0", 1j),
    "{'a': {1: (2,)}}": {"a": {1: (2,)}},
    "{'__type__': 'tuple', 'data': 3}": {"__type__": "tuple", "data": 3},
    "__import__('datetime').datetime(2026, 1, 2, 3)": datetime.datetime(2026, 1, 2, 3),  # noqa: DTZ001
    "[datetime.date(2026, 1, 2), datetime.time(3), datetime.timedelta(days=4)]": [
        datetime.date(2026, 1, 2),
        datetime.time(3),
        datetime.timedelta(days=4),
    ],
    "__import__('decimal').Decimal('1.10')": decimal.Decimal("1.10"),
    "__import__('pathlib').Path('a/b')": Path("a/b"),
}


def test_final_answers_keep_their_type(ready: JupyterExecutor) -> None:
    for code, answer in ANSWERS.items():
        output = ready(f"final_answer({code})")
        assert output.is_final_answer
        assert output.output == answer
        assert type(output.output) is type(answer)
    assert math.isnan(ready("final_answer(float('nan'))").output)
    deep = ready("deep = 0\nfor _ in range(150): deep = [deep]\nfinal_answer(deep)").output
    assert str(deep) == "[" * 150 + "0" + "]" * 150


def test_a_dataclass_is_returned_as_a_dict(ready: JupyterExecutor) -> None:
    code = "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\nfinal_answer(Point(3))"
    assert ready(code).output == {"__dataclass__": "Point", "__module__": "__main__", "x": 3}


def test_a_final_answer_of_five_megabytes_is_complete(ready: JupyterExecutor) -> None:
    output = ready("final_answer('äb\\n' * 600_000 + 'x' * 3_300_000)")
    assert output.output == "äb\n" * 600_000 + "x" * 3_300_000
    assert len(output.logs) < 1000
    cell = code_cells(ready.notebook)[-1]
    assert cell["outputs"][0]["data"]["text/plain"].endswith("… (5,100,000 characters)")


def test_an_image_is_returned_and_shown(executor: JupyterExecutor) -> None:
    draw = "from PIL import Image\nimage = Image.new('RGB', (30, 20), (255, 0, 0))\nfinal_answer(image)"
    with agent(executor, step(draw)) as ran:
        image = ran.run("Draw.").to_raw()
    assert (image.size, image.getpixel((29, 19))) == ((30, 20), (255, 0, 0))
    data = code_cells(executor.notebook)[-1]["outputs"][0]["data"]
    assert PIL.Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size == (30, 20)
    files = list(executor.notebook.parent.glob("*.png"))
    assert [PIL.Image.open(io.BytesIO(file.read_bytes())).size for file in files] == [(30, 20)]
    assert f"Image data saved to {Path(files[0]).name}" in observations(ran)[0]


def test_images_can_be_nested_in_other_data(ready: JupyterExecutor) -> None:
    code = "from PIL import Image\nfinal_answer({'all': [Image.new('CMYK', (3, 4)), Image.new('L', (5, 6))]})"
    assert [image.size for image in ready(code).output["all"]] == [(3, 4), (5, 6)]


def test_an_answer_that_cannot_be_returned_is_reported_and_can_be_repaired(executor: JupyterExecutor) -> None:
    with agent(executor, step("x = object()\nfinal_answer(x)"), step("final_answer(str(type(x)))")) as ran:
        assert ran.run("Answer.") == "<class 'object'>"
    told = observations(ran)[0]
    assert "ValueError: final_answer cannot return this value: object is neither data nor an image." in told
    assert len(told.splitlines()) < 15
    assert statuses(executor.notebook) == ["ok", "error", "ok"]


def test_an_answer_that_cannot_be_recorded_is_rejected(output_dir: Path) -> None:
    executor = JupyterExecutor(output_dir=output_dir, max_cell_chars=2000)
    executor.send_tools({"final_answer": FinalAnswerTool()})
    with pytest.raises(AgentError, match=r"It has 3,006 characters as JSON, more than the limit of 1,200\. Write"):
        executor("final_answer('x' * 3000)")
    with pytest.raises(AgentError, match="Call final_answer in a step that prints less"):
        executor("print('x' * 1900)\nfinal_answer('y' * 900)")
    assert executor("final_answer('y' * 900)").output == "y" * 900
    executor.cleanup()


class Checked(FinalAnswerTool):  # type: ignore[misc,unused-ignore]
    """A custom final answer, as in smolagents' tests."""

    inputs = {  # noqa: RUF012  (a class attribute, as smolagents has it)
        "first": {"type": "string", "description": "One part."},
        "second": {"type": "string", "description": "Another."},
    }

    def forward(self, first: str, second: str) -> str:
        return first + "-" + second


def test_the_final_answer_can_be_a_custom_tool(executor: JupyterExecutor) -> None:
    checked = Checked()
    for _ in range(2):
        executor.send_tools({"final_answer": checked})
        assert executor("final_answer('a', second='b')").output == "a-b"
    assert type(checked) is Checked
    assert checked("a", "b") == "a-b"


# What the model gets


def test_the_last_value_is_separate_from_the_printed_output(executor: JupyterExecutor) -> None:
    output = executor("print('4')\n2 + 2")
    assert (output.logs, output.output, output.is_final_answer) == ("4\n", "4", False)
    assert executor("2 + 2").logs == ""
    silent = executor("x = 3")
    assert (silent.logs, silent.output) == ("The code ran and printed nothing.\n", None)


def test_files_and_images_are_named(executor: JupyterExecutor) -> None:
    output = executor("open('own.txt', 'w').write('x')")
    assert output.output == "1"
    assert output.logs.endswith("File written: own.txt\n")
    output = executor("from PIL import Image\nprint('a picture')\nImage.new('L', (9, 9))")
    assert output.logs.splitlines()[0] == "a picture"
    assert output.logs.splitlines()[1].startswith("Image data saved to ")
    assert "Image" in output.output


def test_output_is_limited_and_the_notebook_is_complete(output_dir: Path) -> None:
    executor = JupyterExecutor(output_dir=output_dir, max_output_chars=1000)
    output = executor("print('x' * 50_000)\n'y' * 50_000")
    assert len(output.logs) < 1100
    assert len(output.output) <= 1000
    with pytest.raises(AgentError) as raised:
        executor("raise ValueError('z' * 50_000)")
    assert len(str(raised.value)) < 1100
    assert len(stream_text(code_cells(executor.notebook)[0])) == 50_001
    executor.cleanup()


def test_an_error_is_reported_with_the_output_before_it(executor: JupyterExecutor) -> None:
    with pytest.raises(AgentError, match=r"(?s)halfway.*ZeroDivisionError: division by zero"):
        executor("print('halfway')\n1 / 0")
    with pytest.raises(AgentError, match="SyntaxError"):
        executor('print("Missing Parenthesis')


def test_images_reach_a_model_with_image_input(executor: JupyterExecutor) -> None:
    draw = step("from PIL import Image\ndisplay(Image.new('RGB', (7, 5)))")
    says = [draw, step("print('none')"), "no code at all", step("final_answer(1)")]
    with agent(executor, *says, step_callbacks=[executor.add_pictures]) as ran:
        ran.run("Draw.")
    images = [each.observations_images for each in ran.memory.steps if hasattr(each, "observations_images")]
    assert [[image.size for image in step] if step else None for step in images] == [[(7, 5)], None, None, None]


# Messages


def test_all_messages_of_an_agent_are_recorded(executor: JupyterExecutor) -> None:
    says = [
        "The plan:\n```python\nx\n```",
        "No code: here.",
        "Before.\n<code>\nx = 1\n</code>\nBetween.\n<code>\ny = 2\n</code>",
        "Fenced.\n```python\nprint(x + y)\n```\nSeen.",
        step("final_answer(x + y)", ""),
    ]
    with agent(executor, *says, planning_interval=9) as ran:
        executor.listen_to(ran)
        assert ran.run("Talk.") == 3
    task, tools, *said = markdown(executor.notebook)
    assert task.endswith("Talk.")
    assert tools.startswith("**Tools")
    assert said == ["The plan:\n```python\nx\n```", "No code: here.", "Before.\n\nBetween.", "Fenced.\n\nSeen."]


def test_the_last_message_of_an_agent_that_runs_out_of_steps_is_recorded(executor: JupyterExecutor) -> None:
    with agent(executor, step("x = 1"), "As code: <code>x = 1</code>", max_steps=1) as ran:
        executor.listen_to(ran)
        assert ran.run("Talk.") == "As code: <code>x = 1</code>"
    assert markdown(executor.notebook)[-2:] == ["Next.", "As code: <code>x = 1</code>"]


def test_streamed_messages_are_recorded(executor: JupyterExecutor) -> None:
    model = StreamingModel(step("final_answer(1)", "Letter by letter."))
    with CodeAgent(tools=[], model=model, executor=executor, verbosity_level=-1, stream_outputs=True) as ran:
        executor.listen_to(ran)
        list(ran.run("Talk.", stream=True))
    assert markdown(executor.notebook)[-1] == "Letter by letter."


def test_the_thought_of_a_structured_output_is_recorded(executor: JupyterExecutor) -> None:
    message = json.dumps({"thought": "I think.", "code": "final_answer(1)"})
    with agent(executor, message, use_structured_outputs_internally=True) as ran:
        executor.listen_to(ran)
        assert ran.run("Think.") == 1
    assert markdown(executor.notebook)[-1] == "I think."


def test_messages_are_not_recorded_if_switched_off(output_dir: Path) -> None:
    executor = JupyterExecutor(output_dir=output_dir, record_messages=False)
    with agent(executor, step("final_answer(1)", "Secret.")) as ran:
        executor.listen_to(ran)
        ran.run("Secret task.")
    assert [text.split(":")[0] for text in markdown(executor.notebook)] == ["**Tools of the agent**"]


def test_an_agent_with_recorded_messages_saves_its_own_model(executor: JupyterExecutor) -> None:
    ran = agent(executor)
    model = ran.model
    saved = ran.to_dict()["model"]
    executor.listen_to(ran)
    assert ran.to_dict()["model"] == saved
    assert isinstance(ran.model, Model)
    assert ran.model.says is model.says
    assert not hasattr(ran.model, "generate_stream")


# Tools and variables


def test_variables_keep_their_type(executor: JupyterExecutor) -> None:
    image = PIL.Image.new("RGB", (4, 3))
    day = datetime.date(2026, 1, 2)
    values = {"n": 14, "words": ["a", {"b": None}], "nan": math.nan, "day": day, "image": image, "not a name": 1}
    executor.send_variables(values)
    assert executor("n, words, nan, day, image.size, globals()['not a name']").output == (
        "(14, ['a', {'b': None}], nan, datetime.date(2026, 1, 2), (4, 3), 1)"
    )
    assert code_cells(executor.notebook)[0]["source"].startswith("n = 14\nwords = ['a', {'b': None}]\n")


def test_variables_that_need_pickle_are_not_sent(executor: JupyterExecutor) -> None:
    ran = agent(executor, step("final_answer(1)"))
    with pytest.raises(SerializationError, match=r"The variable thing cannot be sent to the kernel without pickle"):
        ran.run("Take it.", additional_args={"thing": object()})


def test_without_variables_and_tools_no_cells_are_added(executor: JupyterExecutor) -> None:
    executor.send_variables({})
    executor.send_tools({})
    executor("1")
    assert [cell["source"] for cell in read_notebook(executor.notebook)["cells"]] == ["1"]


def test_agents_are_not_sent_to_a_kernel(executor: JupyterExecutor) -> None:
    other = agent(executor, name="helper", description="Helps.")
    ran = agent(executor, step("helper('x')"), managed_agents=[other])
    with pytest.raises(ValueError, match="helper: an agent cannot be called from a kernel"):
        ran.run("Ask.")


class Shout(Tool):  # type: ignore[misc,unused-ignore]
    """A tool that requires a package that is not published."""

    name = "shout"
    description = "Shouts."
    inputs = {"text": {"type": "string", "description": "What."}}  # noqa: RUF012  (as smolagents has it)
    output_type = "string"

    def forward(self, text: str) -> str:
        import nbtape_test_loud  # type: ignore[import-not-found]

        loud: str = nbtape_test_loud.loud(text)
        return loud


def make_wheel(directory: Path) -> None:
    info = "nbtape_test_loud-1.0.dist-info"
    with zipfile.ZipFile(directory / "nbtape_test_loud-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("nbtape_test_loud.py", "def loud(text):\n    return text.upper()\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: nbtape-test-loud\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def package_index(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only index from which kernels can install packages."""
    wheels, installed = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_TARGET", str(installed))
    monkeypatch.setenv("PYTHONPATH", str(installed))
    return wheels


def test_missing_requirements_of_a_tool_are_installed(package_index: Path, executor: JupyterExecutor) -> None:
    make_wheel(package_index)
    with agent(executor, step("final_answer(shout('hello'))"), tools=(Shout(),)) as ran:
        assert ran.run("Shout.") == "HELLO"
    assert markdown(executor.notebook)[0].startswith("**Packages of the agent**: `nbtape_test_loud`")
    assert code_cells(executor.notebook)[0]["source"].startswith("def _install(packages):")


@pytest.mark.usefixtures("package_index")
def test_a_requirement_that_cannot_be_installed_is_reported_when_the_run_begins(executor: JupyterExecutor) -> None:
    ran = agent(executor, step("final_answer(shout('hello'))"), tools=(Shout(),))
    with pytest.raises(AgentError, match=r"(?s)could not be sent.*pip could not install nbtape_test_loud\."):
        ran.run("Shout.")


@pytest.mark.usefixtures("package_index")
def test_installed_requirements_are_not_installed_again(output_dir: Path) -> None:
    imports = ["PIL", "json.decoder", "*", "Pillow"]
    executor = JupyterExecutor(output_dir=output_dir, additional_imports=imports)
    executor.send_tools({})
    assert statuses(executor.notebook) == ["ok"]
    assert code_cells(executor.notebook)[0]["outputs"] == []
    executor.cleanup()


@pytest.mark.usefixtures("package_index")
def test_additional_imports_are_installed_before_code_without_an_agent(output_dir: Path) -> None:
    """Code can be run by calling the executor, as smolagents' own executors allow."""
    executor = JupyterExecutor(output_dir=output_dir, additional_imports=["PIL"])
    assert executor("1 + 1").output == "2"
    executor("2 + 2")
    executor.cleanup()
    installs, *_ = sources = [cell["source"] for cell in code_cells(executor.notebook)]
    assert "_install(['PIL'])" in installs
    assert sources[1:] == ["1 + 1", "2 + 2"]


# Failures


def test_a_timeout_is_reported_and_the_next_step_continues(output_dir: Path) -> None:
    executor = JupyterExecutor(output_dir=output_dir, timeout=2)
    says = [step("x = 5\nprint('begun')\nwhile True: pass"), step("final_answer(x)")]
    with agent(executor, *says) as ran:
        assert ran.run("Wait.") == 5
    told = observations(ran)[0]
    assert "begun" in told
    assert "Timeout: stopped after 2 s. Variables are kept." in told
    assert statuses(executor.notebook) == ["ok", "timeout", "ok"]


def test_tools_and_variables_are_restored_after_a_kernel_died(executor: JupyterExecutor) -> None:
    says = [
        step("x = 5\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)"),
        step("print('x' in globals())\nadd(n, 1)"),
        step("final_answer(add(n, 2))"),
    ]
    with agent(executor, *says, tools=(add,)) as ran:
        assert ran.run("Go on.", additional_args={"n": 40}) == 42
    died, fresh, _ = observations(ran)
    assert "The kernel died." in died
    assert "A fresh kernel was started: the variables of earlier blocks are gone." in fresh
    assert "The tools and the variables of the task were sent again.\nFalse\nLast output" in fresh
    assert fresh.endswith("41")
    assert statuses(executor.notebook) == ["ok", "ok", "kernel_died", "ok", "ok", "ok", "ok"]
    assert "A fresh kernel was started, so the tools" in "".join(markdown(executor.notebook))


def test_a_kernel_that_died_between_two_steps_is_reported(executor: JupyterExecutor) -> None:
    with agent(executor, step("final_answer(add(n, 2))"), tools=(add,)) as ran:
        ran.run("Add.", additional_args={"n": 1})
        executor("x = 1\nexit()")
        output = executor("final_answer(add(n, 3))")
    assert output.output == 4
    assert "variables of earlier blocks are gone" in output.logs


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_from_a_kernel_is_unpickled(ready: JupyterExecutor, tmp_path: Path) -> None:
    trap = tmp_path / "trapped"
    payload = "pickle:" + base64.b64encode(pickle.dumps(Trap(trap))).decode()
    raising = f"class FinalAnswerException(BaseException): pass\nraise FinalAnswerException({payload!r})"
    with pytest.raises(AgentError, match="FinalAnswerException: pickle:"):
        ready(raising)
    for forged in (payload, payload.removeprefix("pickle:"), "safe:1"):
        with pytest.raises(AgentError, match=r"is invalid.*pickles are never loaded"):
            ready(f"display({{{MIME_TYPE!r}: {forged!r}}}, raw=True)")
    assert not trap.exists()
    assert ready("final_answer(1)").output == 1


def bomb() -> bytes:
    """Return a small file of a large image."""
    made = io.BytesIO()
    PIL.Image.new("L", (1, 1)).save(made, "PNG")
    content = bytearray(made.getvalue())
    content[16:24] = struct.pack(">II", 9000, 9000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def image(content: bytes) -> dict[str, str]:
    return {"__type__": "PIL.Image", "data": base64.b64encode(content).decode()}


FORGED = {
    "bomb": image(bomb()),
    "script": image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    "within": [{"a": image(b"no image")}],
    "absent": {"__type__": "PIL.Image"},
    "array": {"__type__": "ndarray", "data": ["x"] * 1000, "dtype": "<U9999999"},
    "objects": {"__type__": "ndarray", "data": [], "dtype": "V999999999999"},
    "unhashable": {"__type__": "set", "data": [[1]]},
    "cut": {"__type__": "tuple"},
    "surrogates": ["\ud83d"],
    "mistyped": {"__type__": "timedelta", "total_seconds": 1e99},
}


def test_forged_answers_are_rejected(ready: JupyterExecutor) -> None:
    texts = [repr(json.dumps(forged)) for forged in FORGED.values()]
    for text in [*texts, "'[' * 100_000", "'9' * 10_000", "''"]:
        with pytest.raises(AgentError, match="The final answer from the kernel is invalid"):
            ready(f"display({{{MIME_TYPE!r}: {text}}}, raw=True)")


def test_an_answer_followed_by_an_error_does_not_count(ready: JupyterExecutor) -> None:
    with pytest.raises(AgentError, match="ZeroDivisionError"):
        ready(f"display({{{MIME_TYPE!r}: '1'}}, raw=True)\n1 / 0")


def test_an_unreachable_server_is_reported_at_once(output_dir: Path) -> None:
    executor = JupyterExecutor("http://127.0.0.1:9", output_dir=output_dir, token="secret-token")
    with pytest.raises(ServerError) as raised:
        agent(executor, step("final_answer(1)")).run("Run.")
    assert "secret-token" not in str(raised.value)
    executor.cleanup()


# Kernels and executors


@pytest.mark.usefixtures("leaves_nothing")
def test_two_agents_on_one_server_are_separate(output_dir: Path) -> None:
    with LocalJupyterServer() as server:
        names = ("one", "other")
        executors = [JupyterExecutor(server, output_dir=output_dir, notebook=name) for name in names]
        agents = [agent(each, step("n += 1"), step("final_answer(n)")) for each in executors]
        assert [ran.run("Add.", additional_args={"n": 10 * n}) for n, ran in enumerate(agents)] == [1, 11]
        for ran in agents:
            ran.cleanup()
    assert [each.notebook for each in executors] == [output_dir / f"{name}.ipynb" for name in names]
    assert [statuses(each.notebook) for each in executors] == [["ok"] * 4] * 2


def test_a_given_executor_is_used_and_keeps_running(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as given:
        given.execute_code_blocks([CodeBlock("x = 41", "python")])
        with agent(JupyterExecutor(executor=given), step("final_answer(x + 1)")) as ran:
            assert ran.run("Go on.") == 42
        assert given.execute_code_blocks([CodeBlock("x", "python")]).output == "41"
        with pytest.raises(ValueError, match="Pass no other arguments with it"):
            JupyterExecutor(executor=given, output_dir=output_dir)


def test_an_agent_continues_a_recorded_notebook(output_dir: Path) -> None:
    executor = JupyterExecutor(output_dir=output_dir)
    with agent(executor, step("x = 40\nfinal_answer(x)")) as ran:
        assert ran.run("Begin.") == 40
    with (
        JupyterCodeExecutor.resume(executor.notebook) as resumed,
        agent(JupyterExecutor(executor=resumed), step("final_answer(x + 2)")) as ran,
    ):
        assert ran.run("Go on.") == 42


@pytest.mark.usefixtures("leaves_nothing")
def test_a_constructor_starts_nothing(output_dir: Path) -> None:
    executor = JupyterExecutor(output_dir=output_dir)
    assert executor.notebook == output_dir / "session.ipynb"
    assert list(output_dir.iterdir()) == []
    executor.cleanup()
    with pytest.raises(ValueError, match="timeout= must be a finite number of seconds, at least 1"):
        JupyterExecutor(timeout=0)
