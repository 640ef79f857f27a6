"""The options of an executor, and checks of its arguments."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Literal, TypedDict, TypeVar, get_args

from nbtape.common.argument_checks import (
    check_callable,
    check_choice,
    check_instance,
    check_positive,
    is_number,
    path_argument,
    text_argument,
)
from nbtape.common.image_types import EXTENSIONS, SVG
from nbtape.common.text import fit_text
from nbtape.messages.code_blocks import CodeBlock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from nbtape.session.approval import Approve

F = TypeVar("F", bound=Callable[..., object])

DEFAULT_NAME: Final = "session"

#: What `extract` can name. Only HTML is not saved anyway.
_EXTRACTED: Final = {
    **{name: name for name in ("html", "image", "pdf", "svg")},
    "text/html": "html",
    "application/pdf": "pdf",
    **{mime: "svg" if mime == SVG else "image" for mime in EXTENSIONS},
}
#: The forms of a traceback in a result.
TracebackForm = Literal["compact", "full"]
#: Maximum length of code in an error.
_MAX_SHOWN_CODE_CHARS: Final = 60


class Options(TypedDict, total=False):
    """Further options of an executor, with their defaults in parentheses.

    Args:
        token: Token of a server that is given as a URL (None).
        python: The interpreter of a local Python kernel, or its virtual environment, activated for the code (None: the
            one in the kernel spec, usually the one that runs nbtape). It needs the package ipykernel.
        startup_timeout: Seconds for a kernel to start (60).
        interrupt_grace: Seconds for code to obey an interrupt before its kernel is killed (4).
        max_output_chars: Maximum length of `CodeResult.output`; the notebook has the rest (8,000).
        traceback: The form of tracebacks in `CodeResult.output` ("compact"): the frames of the agent's code, the place
            in a library where the error was raised, the message, and the causes. "full" is the traceback of the
            kernel, which the notebook always has.
        max_cell_chars: Maximum characters of output that a cell keeps in the notebook (16 million). The rest is not
            recorded, and a notice in the cell reports it. Text in a message of more than 64 KiB is counted in bytes.
            Each output after the first counts as 500 more characters, each JSON array or object as 64, and each other
            value as 16.
        max_notebook_chars: The same for the whole notebook, source included (256 million). These two limits keep
            this process below 300 MB when code floods its output.
        extract: Further types of outputs to save as files: "html" (none). Images, SVG and PDF are always saved.
        name_files: Whether `CodeResult.output` names each file that is extracted from an output, relative to the
            working directory (True). "absolute" for absolute paths, as in AutoGen 0.2. If False, the text has the repr
            of the displayed object, like AutoGen 0.7's.
        record_messages: Whether to record the text around the code of a message as Markdown cells (True), for blocks
            that `code_extractor` found.
        agent: Name of the agent, for the metadata of those cells ("").
        code_tags: Names of tags whose elements `code_extractor` reads as code, such as "execute_ipython" (none).
        on_output: A function or coroutine function that is called with each output in nbformat's form as it arrives,
            streams in chunks (None). It runs on the executor's event loop, so a function must return quickly.
            Coroutines run one after the other, and a call returns when they have ended, or 10 seconds later. None of
            them may call or await the executor.
        approve: A function or coroutine function that is called with each block before it runs (None). It returns True
            to run the block, another `CodeBlock` to run that instead, or False or a reason (a string) to refuse it. A
            refused block is recorded as `not_run` with the reason. If the function raises an error or returns something
            else, the block is refused. A function is called in a thread of its own, so it may wait for a person; the
            time does not count for the timeout. It must not call or await the executor. It is not called for cells that
            `resume` runs again.
    """

    token: str | None
    python: Path | str | None
    startup_timeout: float
    interrupt_grace: float
    max_output_chars: int
    traceback: TracebackForm
    max_cell_chars: int
    max_notebook_chars: int
    extract: Sequence[str]
    name_files: bool | Literal["absolute"]
    record_messages: bool
    agent: str
    code_tags: Sequence[str]
    on_output: Callable[[Mapping[str, Any]], object] | None
    approve: Approve | None


DEFAULTS: Final[Options] = {
    "token": None,
    "python": None,
    "startup_timeout": 60.0,
    "interrupt_grace": 4.0,
    "max_output_chars": 8_000,
    "traceback": "compact",
    "max_cell_chars": 16_000_000,
    "max_notebook_chars": 256_000_000,
    "extract": (),
    "name_files": True,
    "record_messages": True,
    "agent": "",
    "code_tags": (),
    "on_output": None,
    "approve": None,
}


def list_options(function: F) -> F:
    """List the options with their defaults in the signature of a function that takes them as `**options`.

    Type checkers read them from `Options`; this is for `help()`, IPython and Jupyter.
    """
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS.get(name), annotation=reference.__forward_arg__
        )
        for name, reference in inspect.get_annotations(Options).items()
    ]
    listed = signature.replace(parameters=[*own, *options])
    setattr(function, "__signature__", listed)  # noqa: B010  (functions do not declare it)
    return function


def checked_timeout(timeout: float) -> float:
    """Return the seconds for a block, or raise ValueError."""
    if not (is_number(timeout) and 1 <= timeout < math.inf):
        raise ValueError(f"timeout= must be a finite number of seconds, at least 1, not {timeout!r}.")
    return timeout


def checked_blocks(blocks: Iterable[CodeBlock]) -> list[CodeBlock]:
    """Return the blocks of a call, or raise TypeError."""
    if isinstance(blocks, str):
        raise TypeError(
            f"code_blocks= must be a list of CodeBlock, not a string. Call {_call('run', blocks)} for code, or "
            "run_message(text) for Markdown with fenced code."
        )
    if not isinstance(blocks, Iterable):
        raise TypeError(f"code_blocks= must be a list of CodeBlock, not {blocks!r:.100}. Put a block into a list.")
    return [_checked_block(block) for block in blocks]


def _checked_block(block: CodeBlock) -> CodeBlock:
    if isinstance(block, str):
        raise TypeError(f"A block must be a CodeBlock, not a string. Write {_call('CodeBlock', block, 'python')}.")
    if not (hasattr(block, "code") and hasattr(block, "language")):
        raise TypeError(f"{block!r:.100} is not a CodeBlock. Pass a list of CodeBlock(code, language).")
    code, language = block.code, block.language
    if not all(isinstance(text, str) for text in (code, language)):
        raise TypeError(f"The code and the language of a CodeBlock must be strings, not {code!r} and {language!r}.")
    said = {name: getattr(block, name, "") for name in ("said_before", "said_after", "said_by")}
    texts = {name: text for name, text in said.items() if isinstance(text, str)}
    return CodeBlock(code, language, **texts, is_cut=getattr(block, "is_cut", False) is True)


def _call(function: str, code: str, *more: str) -> str:
    """The call that was meant, with the code if that is short."""
    first = repr(code) if len(code) <= _MAX_SHOWN_CODE_CHARS else "code"
    return f"{function}({', '.join([first, *map(repr, more)])})"


def check_names(options: Mapping[str, object], function: Callable[..., object]) -> None:
    """Raise TypeError for an option that does not exist, with the argument of the called function that was meant."""
    for name in options.keys() - DEFAULTS.keys():
        import difflib

        arguments = [each for each in inspect.signature(function).parameters if each not in {"self", "options"}]
        meant = difflib.get_close_matches(name, arguments, n=1)
        hint = f"Did you mean {meant[0]}=?" if meant else f"The arguments are: {', '.join(arguments)}."
        raise TypeError(f"Unknown option {name}=. {hint}")


def checked_options(options: Options) -> Options:
    """Return the options with their defaults; raises TypeError or ValueError for an invalid value."""
    checked: Options = {**DEFAULTS, **options}
    given: Mapping[str, object] = {**checked}
    for name in ("startup_timeout", "interrupt_grace", "max_output_chars", "max_cell_chars", "max_notebook_chars"):
        check_positive(name, given[name])
    for name in ("max_output_chars", "max_cell_chars", "max_notebook_chars"):
        check_instance(name, given[name], int)
    check_instance("record_messages", given["record_messages"], bool)
    check_choice("traceback", checked["traceback"], get_args(TracebackForm))
    if not (isinstance(checked["name_files"], bool) or checked["name_files"] == "absolute"):
        raise TypeError(f'name_files= must be True, False or "absolute", not {checked["name_files"]!r:.100}.')
    checked["extract"] = _checked_types(checked["extract"])
    check_callable("on_output", checked["on_output"])
    check_callable("approve", checked["approve"])
    text_argument("agent", checked["agent"])
    if checked["token"] is not None:
        text_argument("token", checked["token"])
    if checked["python"] is not None:
        path_argument("python", checked["python"])
    if checked["code_tags"]:
        from nbtape.messages.code_tags import checked_code_tags  # loads the parser of messages

        checked["code_tags"] = checked_code_tags(checked["code_tags"])
    return checked


def _checked_types(extract: Sequence[str]) -> tuple[str, ...]:
    """The names of the types of outputs to save as files; raises TypeError or ValueError for anything else."""
    names = (extract,) if isinstance(extract, str) else extract
    if not isinstance(names, Iterable):
        raise TypeError(f'extract= must be a list of names, such as ["html"], not {extract!r:.100}.')
    found = []
    for name in names:
        if name not in _EXTRACTED:
            raise ValueError(
                f"extract= must have names from {', '.join(sorted(set(_EXTRACTED.values())))}, not {name!r:.100}."
            )
        found.append(_EXTRACTED[name])
    return tuple(dict.fromkeys(found))


def checked_name(name: str) -> str:
    """Return the name of a notebook without `.ipynb`, or raise ValueError if it is not a plain file name."""
    stem = text_argument("notebook", name).removesuffix(".ipynb")
    if stem in {"", ".", ".."} or any(char in stem for char in "/\\\0") or len(fit_text(stem).encode()) > 200:  # noqa: PLR2004
        raise ValueError(
            f"{name!r} is not a valid notebook name. Use a plain file name of at most 200 bytes, and set the "
            "directory with output_dir=."
        )
    return stem
