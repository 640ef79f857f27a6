"""Every error pickles, ends with what to do, and is in the tree shown in the module's docstring."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

from nbtape import errors
from nbtape.errors import (
    BlockInterrupted,
    DirectoryCopyError,
    KernelBusyError,
    KernelError,
    KernelNotInstalledError,
    KernelStartError,
    MissingExtraError,
    NbtapeError,
    NotCopyableError,
    NotebookError,
    NotebookInUseError,
    NotebookReadError,
    NotebookWriteError,
    OutputDirectoryError,
    OutputWriteError,
    ServerError,
    SourceError,
    WrongLoopError,
    WrongProcessError,
)
from nbtape.results import CellResult, CodeResult

RESULT = CodeResult(1, "text", ["/a"], "error", [CellResult(0, "id", "error", error_name="E")], Path("/x/n.ipynb"))
NOTEBOOK = Path("/x/n.ipynb")

#: One example of each error as the library raises it, and the advice in its message.
EXAMPLES: list[tuple[BaseException, str]] = [
    (NbtapeError("Something. Do this."), "Do this."),
    (KernelError("Something. Do this."), "Do this."),
    (KernelNotInstalledError("julia", ["python3", "bash"]), "Choose one of them."),
    (KernelNotInstalledError("julia"), "`pip install ipykernel`."),
    (KernelStartError("It died. Increase startup_timeout=."), "Increase startup_timeout=."),
    (KernelBusyError("It is busy. Ask later."), "Ask later."),
    (NotebookError("Something. Do this."), "Do this."),
    (OutputDirectoryError(Path("/x/y"), "does not exist. Create its parent /x."), "Create its parent /x."),
    (NotebookReadError(NOTEBOOK, "it does not exist. Check the path."), "Check the path."),
    (NotebookInUseError(NOTEBOOK), "copy of the first cells with until=."),
    (NotebookWriteError(NOTEBOOK, "the disk is full. Free some space."), "written by the next save that succeeds."),
    (
        NotebookWriteError(NOTEBOOK, "the disk is full. Free some space.", RESULT),
        "written by the next save that succeeds.",
    ),
    (OutputWriteError(NOTEBOOK, "the disk is full. Free some space."), "Free some space."),
    (DirectoryCopyError(Path("/x/y"), "it has more than 1 GB. Remove something."), "Remove something."),
    (ServerError("The server at http://x/ cannot be reached. Start it."), "Start it."),
    (SourceError("No notebook. Convert it."), "Convert it."),
    (MissingExtraError("HTML export", "nbconvert", "export"), "pip install 'nbtape[export]'"),
    (WrongLoopError("Another loop. Use it there."), "Use it there."),
    (WrongProcessError("executor"), "Create one in each worker process."),
    (NotCopyableError("JupyterCodeExecutor"), "Share the object, or create another one."),
    (BlockInterrupted(), ".result and in the notebook."),
    (BlockInterrupted(RESULT), ".result and in the notebook."),
]
IDS = [type(error).__name__ for error, _ in EXAMPLES]


def own_classes() -> dict[str, type[BaseException]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    }


def test_every_error_has_an_example() -> None:
    assert {type(error) for error, _ in EXAMPLES} == set(own_classes().values())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES], ids=IDS)
def test_an_error_pickles_with_all_attributes(error: BaseException, protocol: int) -> None:
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
        assert twin.args == error.args


@pytest.mark.parametrize(("error", "advice"), EXAMPLES, ids=IDS)
def test_a_message_ends_with_what_to_do(error: BaseException, advice: str) -> None:
    assert str(error).endswith(advice)


def test_a_notebook_write_error_names_the_notebook_and_the_reason() -> None:
    text = str(NotebookWriteError(NOTEBOOK, "the disk is full. Free some space."))
    assert text.startswith("The notebook /x/n.ipynb could not be written: the disk is full. Free some space. ")


def test_the_error_for_a_missing_kernel_uses_autogens_wording_and_lists_installed_ones() -> None:
    text = str(KernelNotInstalledError("julia", ["python3", "bash"]))
    assert text.startswith("Kernel julia is not installed.")
    assert "Installed kernels: bash, python3." in text


def test_without_any_kernel_the_error_suggests_installing_one() -> None:
    text = str(KernelNotInstalledError("julia"))
    assert "No kernels are installed." in text
    assert "ipykernel" in text, "where no kernel is installed, what to do is to install one"


def test_the_error_for_an_output_directory_uses_autogens_wording() -> None:
    assert str(OutputDirectoryError(Path("/x/y"), "is a file.")) == "Output directory /x/y is a file."


def test_the_docstring_shows_the_tree_of_errors() -> None:
    drawn: dict[str, str] = {}
    branch: list[str] = []
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        found = re.match(r"([ │├└─]*)([A-Z]\w+) ?(.*)", line)
        if found is None or found[2] not in own_classes():
            continue
        depth = len(found[1]) // 4 - 1
        branch[depth:] = [found[2]]
        drawn[found[2]] = branch[depth - 1] if depth else found[3]
    assert drawn.keys() == own_classes().keys()
    assert drawn.pop("NbtapeError") == ""
    assert drawn.pop("BlockInterrupted").startswith("(KeyboardInterrupt)")
    for name, parent in drawn.items():
        assert own_classes()[name].__bases__[0].__name__ == parent


def test_errors_about_invalid_values_are_value_errors_too() -> None:
    for error in (KernelNotInstalledError, OutputDirectoryError, NotebookReadError, SourceError):
        assert issubclass(error, ValueError)


def test_every_error_except_an_interrupt_is_an_nbtape_error() -> None:
    assert [name for name, error in own_classes().items() if not issubclass(error, NbtapeError)] == ["BlockInterrupted"]
    assert issubclass(BlockInterrupted, KeyboardInterrupt)
    assert not issubclass(BlockInterrupted, Exception)
