"""Each output, value and byte of a block counts, whatever it sends, and the cell reports what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from executors import run
from reading import code_cells, read_notebook, stream_text

from nbtape import JupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Sends custom messages of the block on iopub, by default as children of the block.
SEND = """
kernel = get_ipython().kernel
def send(kind, content, parent=None):
    kernel.session.send(kernel.iopub_socket, kind, content, parent=parent or kernel.get_parent(), ident=b'x')
def show(data, **transient):
    send('display_data', {'data': data, 'metadata': {}, 'transient': transient})
"""


@pytest.fixture
def executor(output_dir: Path) -> Iterator[JupyterCodeExecutor]:
    with JupyterCodeExecutor(output_dir=output_dir, max_cell_chars=200_000) as executor:
        yield executor


def bounded(executor: JupyterCodeExecutor, code: str) -> Any:
    """Run a flood and return its cell, which reports that something is left out."""
    result = run(executor, SEND + code)
    assert result.status == "ok"
    assert result.cells[0].left_out > 0
    assert "left out here" in result.output
    assert executor.notebook.stat().st_size < 1_000_000
    cell = code_cells(executor.notebook)[-1]
    assert cell["metadata"]["nbtape"]["left_out"] > 0
    assert run(executor, "print('still here')").output == "still here\n"
    return cell


@pytest.mark.parametrize(
    "flood",
    [
        "for n in range(3000): show({})",
        "for n in range(3000): show({}, display_id=str(n))",
        "for n in range(3000): send('stream', {'name': ('stdout', 'stderr')[n % 2], 'text': ''})",
        "for n in range(3000): send('error', {'ename': '', 'evalue': '', 'traceback': []})",
        "for n in range(3): send('error', {'ename': '', 'evalue': '', 'traceback': [''] * 100_000})",
        "show({'application/json': [[]] * 2_000_000})",
        "show({'application/json': [{}] * 10_000})",
        "show({'application/json': [0] * 2_000_000})",
        "show({'application/json': [''] * 100_000})",
        "show({'application/json': {str(n): None for n in range(20_000)}})",
        "send('display_data', {'data': {}, 'metadata': {'x': [[]] * 10_000}})",
        "for n in range(600): show({'application/json': [[]] * 10})",
    ],
)
def test_a_flood_of_small_outputs_is_limited(executor: JupyterCodeExecutor, flood: str) -> None:
    cell = bounded(executor, flood)
    assert len(cell["outputs"]) <= 402


@pytest.mark.parametrize("levels", [900, 10_000, 100_000])
@pytest.mark.parametrize("parts", [("[", "]"), ('{"a":', "}")])
def test_a_deeply_nested_display_is_cut_or_left_out(
    executor: JupyterCodeExecutor, levels: int, parts: tuple[str, str]
) -> None:
    code = f"""
opening, closing = {parts}
deep = opening * {levels} + '0' + closing * {levels}
content = ('{{"data": {{"application/json": ' + deep + '}}, "metadata": {{}}, "transient": {{}}}}').encode()
message = kernel.session.msg('display_data', content=content, parent=kernel.get_parent())
kernel.session.send(kernel.iopub_socket, message, ident=b'x')
"""
    result = run(executor, SEND + code + "print('after')")
    assert result.status == "ok"
    assert "after\n" in result.output
    assert result.cells[0].left_out > 0 or "…" in str(code_cells(executor.notebook)[0]["outputs"])
    assert run(executor, "print('still here')").output == "still here\n"
    read_notebook(executor.notebook)


WIDGET = """
state = {'_model_module': '@jupyter-widgets/output', '_model_name': 'OutputModel', 'outputs': []}
send('comm_open', {'comm_id': 'w', 'target_name': 'jupyter.widget', 'data': {'state': state}})
send('comm_msg', {'comm_id': 'w', 'data': {'method': 'update', 'state': {
    'msg_id': kernel.get_parent()['header']['msg_id']}}})
"""


def test_outputs_for_a_forged_output_widget_count_in_the_cell(executor: JupyterCodeExecutor) -> None:
    cell = bounded(executor, WIDGET + "for n in range(30): show({'text/plain': 'x' * 20_000})")
    assert 8 <= len(cell["outputs"]) <= 11


def test_updates_of_earlier_displays_count_toward_the_limit_of_the_running_cell(
    executor: JupyterCodeExecutor,
) -> None:
    for n in range(4):
        run(executor, SEND + f"show({{'text/plain': 'small'}}, display_id='{n}')")
    code = "for n in range(4): send('update_display_data', {'data': {'text/plain': 'x' * 90_000}, 'metadata': {},"
    bounded(executor, code + "'transient': {'display_id': str(n)}})")
    sizes = [len(cell["outputs"][0]["data"]["text/plain"]) for cell in code_cells(executor.notebook)[:4]]
    assert sizes == [90_000, 90_000, 5, 5]


def test_a_display_in_many_places_counts_once_for_each(executor: JupyterCodeExecutor) -> None:
    code = "for n in range(100): show({'text/plain': 'small'}, display_id='x')\n"
    cell = bounded(executor, code + "show({'text/plain': 'x' * 50_000}, display_id='x')")
    assert all(output["data"]["text/plain"] == "small" for output in cell["outputs"][:-1])


def test_a_request_id_of_any_type_is_harmless(executor: JupyterCodeExecutor) -> None:
    code = "for name in ([], {}, None, 5, [['x']]):\n    send('stream', {'text': 'x'}, {'header': {'msg_id': name}})\n"
    result = run(executor, SEND + code + "print('after')")
    assert result.status == "ok"
    assert "after\n" in result.output


# What arrives for an earlier cell

FORGED = """
def forged(kind, content): send(kind, content, {'header': {'msg_id': earlier, 'msg_type': 'execute_request'}})
forged('stream', {'name': 'stdout', 'text': 'forged 1\\n'})
forged('stream', {'name': 'stdout', 'text': 'forged 2\\n'})
forged('execute_result', {'data': {'text/plain': 'forged'}, 'metadata': {}, 'execution_count': 99})
forged('clear_output', {'wait': False})
forged('execute_input', {'code': '', 'execution_count': 98})
forged('error', {'ename': 'Forged', 'evalue': '', 'traceback': []})
"""


def test_output_for_an_earlier_cell_is_kept_separate_and_marked(executor: JupyterCodeExecutor) -> None:
    run(executor, SEND + "earlier = kernel.get_parent()['header']['msg_id']\nprint('own')\n377")
    before = code_cells(executor.notebook)[0]
    run(executor, "print('between')")
    result = run(executor, FORGED + "print('mine')")
    executor.stop()
    first, _, forger = code_cells(executor.notebook)
    assert first["outputs"][:2] == before["outputs"]
    assert first["execution_count"] == 1
    late = first["outputs"][2:]
    assert [output["output_type"] for output in late] == ["stream", "display_data", "error"]
    assert late[0]["text"] == "forged 1\nforged 2\n"
    assert first["metadata"]["nbtape"]["late"] == [{"output": n, "during": forger["id"]} for n in (2, 3, 4)]
    assert first["metadata"]["nbtape"]["status"] == "ok"
    assert stream_text(forger) == result.output == "mine\n"


def test_a_later_cell_that_updates_a_display_is_named(executor: JupyterCodeExecutor) -> None:
    run(executor, "handle = display('first', display_id=True)\nhandle.update('second')")
    assert "updated_by" not in code_cells(executor.notebook)[0]["metadata"]["nbtape"]
    run(executor, "handle.update('third')\nhandle.update('fourth')")
    executor.stop()
    first, second = code_cells(executor.notebook)
    assert first["metadata"]["nbtape"]["updated_by"] == [second["id"]]
