"""What is reported about arrays and frames, and how an answer is read that code may have forged."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from typing import TYPE_CHECKING, Any

import pytest
from executors import run

from nbtape import AsyncJupyterCodeExecutor, JupyterCodeExecutor, KernelError, Variable, Variables
from nbtape.kernels.inside.variables_probe import MIME_TYPE
from nbtape.session.variables import question, read_variables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROW = {"name": "x", "type": "int", "size": 28, "shape": None, "repr": "1"}


def reply(*rows: Any, left_out: Any = 0) -> dict[str, Any]:
    """Return the content of a reply that lists variables."""
    told = {"variables": list(rows), "left_out": left_out}
    return {"status": "ok", "user_expressions": {"variables": {"status": "ok", "data": {MIME_TYPE: told}}}}


@pytest.fixture
def executor(output_dir: Path) -> Iterator[JupyterCodeExecutor]:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        yield executor


# Reported values


def test_arrays_and_frames_are_listed_with_shape_and_size_of_their_data(executor: JupyterCodeExecutor) -> None:
    code = (
        "import numpy as np, pandas as pd\n"
        "array = np.zeros((1000, 3))\nscalar = np.float64(0.5)\n"
        "frame = pd.DataFrame({'n': np.arange(1000), 'x': 0.5})\ncolumn = frame['n']"
    )
    assert run(executor, code).status == "ok"
    told = {variable.name: variable for variable in executor.variables()}
    assert list(told) == ["array", "column", "frame", "scalar"], "modules are no variables"
    assert (told["array"].type, told["array"].size, told["array"].shape) == ("numpy.ndarray", 24_000, (1000, 3))
    assert (told["scalar"].type, told["scalar"].size, told["scalar"].shape) == ("numpy.float64", 8, ())
    assert (told["column"].size, told["column"].shape) == (8_000, (1000,))
    assert told["frame"].type in {"pandas.DataFrame", "pandas.core.frame.DataFrame"}
    assert (told["frame"].size, told["frame"].shape) == (16_132, (1000, 2))
    assert told["frame"].repr.startswith("       n    x\n0      0  0.5\n1      1  0.5\n")
    assert all(len(variable.repr) <= 200 for variable in told.values())


def test_slow_values_take_only_their_share_of_the_time(executor: JupyterCodeExecutor) -> None:
    code = "import time\nclass Slow:\n    def __repr__(self):\n        time.sleep(60)\n"
    run(executor, code + "".join(f"slow{n} = Slow()\n" for n in range(20)))
    told = [variable.repr for variable in executor.variables(timeout=4) if variable.name.startswith("slow")]
    assert told[0] == "<repr took too long>"
    assert told[-1] == "<repr not asked for: there was no time left>"


async def test_both_executors_list_the_same_variables(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        assert await executor.variables() == Variables()


def test_a_kernel_other_than_python_is_an_error(
    output_dir: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    jupyter_path = tmp_path_factory.mktemp("jupyter")
    monkeypatch.setenv("JUPYTER_PATH", str(jupyter_path))
    directory = jupyter_path / "kernels" / "parrot"
    directory.mkdir(parents=True)
    code = (
        "from ipykernel.ipkernel import IPythonKernel\nfrom ipykernel.kernelapp import IPKernelApp\n"
        "class Parrot(IPythonKernel):\n    language_info = {'name': 'parrot', 'version': '1', 'file_extension': '.p'}\n"
        "IPKernelApp.launch_instance(kernel_class=Parrot)"
    )
    argv = [sys.executable, "-c", code, "-f", "{connection_file}"]
    (directory / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Parrot", "language": "parrot"}))
    with JupyterCodeExecutor(kernel_name="parrot", output_dir=output_dir) as executor:
        with pytest.raises(KernelError, match="parrot"):
            executor.variables()
        assert run(executor, "print('polly')", language="parrot").output == "polly\n"


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2", None])
def test_an_invalid_limit_is_rejected(output_dir: Path, limit: Any) -> None:
    with pytest.raises(ValueError, match="limit"):
        JupyterCodeExecutor(output_dir=output_dir).variables(limit=limit)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_an_invalid_timeout_is_rejected(output_dir: Path, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout= must be a finite number"):
        JupyterCodeExecutor(output_dir=output_dir).variables(timeout=timeout)


# How an answer is read


def test_an_answer_is_read_and_sorted() -> None:
    told = read_variables(reply({**ROW, "name": "y", "shape": [2, 3], "size": None}, ROW, left_out=4), 2)
    assert told == [Variable("x", "int", 28, None, "1"), Variable("y", "int", None, (2, 3), "1")]
    assert told.left_out == 4


def test_text_is_cleaned_and_cut() -> None:
    (told,) = read_variables(reply({**ROW, "name": "\ud800", "repr": "\x1b[31m" + 10**6 * "x"}), 1)
    assert (told.name, told.repr) == ("\ufffd", 195 * "x")


@pytest.mark.parametrize(
    "forged",
    [
        *[None, 7, "text", [], {}, {"user_expressions": []}, {"user_expressions": {"variables": {"data": MIME_TYPE}}}],
        *map(reply, [None, 7, "name", [], {}, {"name": "x"}]),
        *[reply({**ROW, "name": name}) for name in (None, 7, ["x"], b"x")],
        *[reply({**ROW, "size": size}) for size in (-1, 0.5, True, "8", 2**64, float("nan"))],
        *[reply({**ROW, "shape": shape}) for shape in (3, "33", [-1], [None], [[1]], {"0": 1}, [1] * 33)],
        *[reply(ROW, left_out=left_out) for left_out in (None, -1, 1.0, "0")],
        reply(*[ROW] * 201),
    ],
)
def test_a_malformed_answer_is_an_error(forged: Any) -> None:
    with pytest.raises(KernelError, match="list of variables is invalid"):
        read_variables(forged, 200)


def test_an_error_of_the_kernel_is_reported_and_limited_in_length() -> None:
    answer = {"status": "error", "ename": "NameError", "evalue": 10**6 * "x"}
    with pytest.raises(KernelError, match="NameError: xxx") as caught:
        read_variables({"user_expressions": {"variables": answer}}, 1)
    assert len(str(caught.value)) < 1000


def test_the_request_is_a_single_expression() -> None:
    (expression,) = question(200, 5).values()
    compile(expression, "question", "eval")


def test_variables_can_be_copied_and_pickled() -> None:
    told = Variables([Variable("x", "int", 28, (1,), "1")], 3)
    for twin in (copy.copy(told), copy.deepcopy(told), pickle.loads(pickle.dumps(told))):
        assert (twin, twin.left_out) == (told, 3)
