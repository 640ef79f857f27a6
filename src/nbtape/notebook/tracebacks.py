"""Compact tracebacks for a model: where its own code failed, where the error was raised, the message, and the causes.

The input is what kernels send: a list of texts with terminal codes, in the formats of IPython 7 to 9 and of Python. A
text in another format stays as it is.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.text import plural, shorten, strip_escapes
from nbtape.notebook.failures import without_notice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

#: Maximum length of the message of an error, of a line of code, and of a cause.
MAX_MESSAGE_CHARS: Final = 1000
_MAX_CODE_CHARS: Final = 160
_MAX_CAUSE_CHARS: Final = 300

#: Maximum number of frames of the agent's code, half of them from each end, and of causes.
_MAX_FRAMES: Final = 8
_MAX_CAUSES: Final = 4

#: A comprehension has two frames on one line.
_MAX_UNCOUNTED: Final = 2

#: How an exception is related to the next one of a chain.
_LINKS: Final[Mapping[str, str]] = {
    "The above exception was the direct cause of the following exception:": "Caused by",
    "During handling of the above exception, another exception occurred:": "Raised while handling",
}
_HEAD: Final = re.compile(r"-{20,}|(?:\S.* )?Traceback \(most recent call last\):?")
_FRAMES: Final = (
    re.compile(r" {0,2}(?P<path>(?:Cell|Input) In ?\[\d*\])(?:, line (?P<line>\d+))?(?:,? in (?P<name>.+))?"),
    re.compile(r' {0,2}File "(?P<path>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?'),
    re.compile(r" {0,2}File (?P<path>.+?):(?P<line>\d+)(?:,? in (?P<name>.+))?"),
    re.compile(r"(?P<path><ipython-input-[^>]+>|[~/<].*?) in (?P<name>[\w<].*)(?P<line>)"),  # IPython 7
)
_ARROW: Final = re.compile(r"-*> ?(\d+) ?(.*)")
_NUMBERED: Final = re.compile(r" *\d+(?: .*)?")
_REPEATED: Final = re.compile(r"\s*\[\.\.\. skipping similar frames: (.*)\]")
_CARET: Final = re.compile(r"\s*[\^~]+\s*")

#: Files that the agent did not write: installed packages, the standard library, and code without a file.
_LIBRARY: Final = re.compile(
    r"(?:.*[/\\])?(?:site-packages|dist-packages|lib[/\\]python\d[\d.]*|python\d[\d.]*[/\\]lib|Lib)[/\\](?P<file>.*)"
    r"|<(?!ipython-input|timed |magic-timeit|string>|stdin>|tokenize>|template>|unknown>|fstring>).*"
    r"|.*\.(?:pyx|pxi|pxd)"
)
#: The cell of `%%time`, whose code is an argument of the magic.
_TIMED: Final = "<timed exec>"
#: What IPython makes of magics and shell commands.
_MAGIC: Final = "get_ipython()."
_PREFIXES: Final[Mapping[str, str]] = {"run_cell_magic": "%%", "run_line_magic": "%", "system": "!", "getoutput": "!"}
#: The error of `%%bash`, whose message repeats the script.
_SCRIPT: Final = re.compile(r"Command 'b['\"].*' (?P<end>(?:returned|died).*)", re.DOTALL)

#: A shorter text of a cause may be part of another message by chance.
_MIN_TOLD_CHARS: Final = 12

_GROUP: Final = re.compile(r"^ *\+ Exception Group Traceback \(most recent call last\):$", re.MULTILINE)
_TREE: Final = re.compile(r"(?P<tree>[ |]*[|+] )(?P<text>.*)")

_WHERE: Final = "full traceback in the notebook"


@dataclass(slots=True)
class _Frame:
    path: str
    line: str
    name: str
    body: list[str] = field(default_factory=list)

    @property
    def is_own(self) -> bool:
        """Whether it is in code that the agent wrote: a cell, or a file outside libraries."""
        return not _LIBRARY.fullmatch(self.path)

    @property
    def code(self) -> list[str]:
        """The line that was running; of a syntax error also the caret below it."""
        for line in self.body:
            if found := _ARROW.fullmatch(line):
                return [_code(_as_written(found[2].strip()))]
        plain = [line for line in self.body if line.strip() and not _NUMBERED.fullmatch(line)]
        has_caret = len(plain) > 1 and _CARET.fullmatch(plain[1])
        return _clipped_at_caret(plain[0], plain[1]) if has_caret else [_code(text) for text in plain[:1]]

    @property
    def place(self) -> str:
        """Where it is, in one line."""
        found = _LIBRARY.fullmatch(self.path)
        path = (found["file"] if found else "") or self.path
        line = self.line or next((arrow[1] for text in self.body if (arrow := _ARROW.fullmatch(text))), "")
        where = f"{path}, line {line}" if self.is_own and line else f"{path}:{line}" if line else path
        name = self.name.partition("(")[0]
        return where if name.startswith("<") or not name else f"{where}, in {name}"


@dataclass(slots=True)
class _Section:
    """One exception of a chain. `link` is its relation to the next one."""

    frames: list[_Frame] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    message: str = ""
    link: str = ""


def compacted(outputs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same outputs with compact tracebacks, also of exception groups, which IPython prints."""
    shown = list(outputs)
    has_error = any(output["output_type"] == "error" for output in shown)
    return [_compacted(output, is_group=not has_error) for output in shown]


def _compacted(output: Mapping[str, Any], *, is_group: bool) -> Mapping[str, Any]:
    if output["output_type"] == "error":
        return {**output, "traceback": [compact_traceback(output["ename"], output["evalue"], output["traceback"])]}
    if is_group and output.get("name") == "stderr":
        text = compact_group(output["text"])
        return output if text == output["text"] else {**output, "text": without_notice(text)}
    return output


def compact_traceback(name: str, value: str, traceback: Sequence[str]) -> str:
    """The compact form of an error output's fields, without terminal codes.

    Args:
        name: Class name of the exception.
        value: Its message.
        traceback: Texts of the full traceback.
    """
    text = strip_escapes("\n".join(traceback)).strip("\n")
    said = strip_escapes(f"{name}: {value}" if value else name)
    sections = _sections(text)
    last = sections[-1]
    if not last.frames:
        return text or shorten(said, MAX_MESSAGE_CHARS, _WHERE)
    if name == "CalledProcessError" and (script := _SCRIPT.fullmatch(strip_escapes(value))):
        return f"{name}: the script {script['end']}"
    message = last.message if last.message.startswith(strip_escapes(name)) else said
    lines = [*_own_lines(last), *_raised(last), shorten(message, MAX_MESSAGE_CHARS, _WHERE)]
    return "\n".join([*lines, *_causes(sections, message)])


def compact_group(text: str) -> str:
    """A stream whose end is the traceback of an exception group, without the frames of libraries; or the same text."""
    found = _GROUP.search(text)
    if not found:
        return text
    kept, hidden = [], False
    for line in text[found.end() :].split("\n"):
        tree = _TREE.fullmatch(line)
        frame = _frame(tree["text"]) if tree else None
        if frame is not None:
            hidden = not frame.is_own
        elif tree is None or not tree["text"].startswith("    "):
            hidden = False
        if not hidden and not _HEAD.search(line):
            kept.append(line if frame is None or tree is None else f"{tree['tree']}{_in_cell(frame.place)}")
    return text[: found.start()] + "\n".join(kept).strip("\n") + "\n"


def _in_cell(place: str) -> str:
    """The place of a frame; Python names a cell by a temporary file."""
    return re.sub(r".*[/\\]ipykernel_\d+[/\\]\d+\.py", "Cell", place)


def _sections(text: str) -> list[_Section]:
    """The exceptions of a chain, the oldest first; at least one."""
    sections: list[_Section] = []
    lines: list[str] = []
    all_lines = text.split("\n")
    for index, line in enumerate(all_lines):
        if line in _LINKS and _begins(all_lines[index + 1 : index + 4]):
            section = _section(lines)
            section.link = _LINKS[line]
            sections.append(section)
            lines = []
        else:
            lines.append(line)
    return [*sections, _section(lines)]


def _begins(lines: Sequence[str]) -> bool:
    """Whether a section begins within a few lines."""
    return any(_HEAD.fullmatch(line) or _frame(line) for line in lines)


def _section(lines: Sequence[str]) -> _Section:
    section = _Section()
    message: list[str] = []
    for line in lines:
        if message:
            message.append(line)
        elif (frame := _frame(line)) is not None:
            section.frames.append(frame)
        elif found := _REPEATED.fullmatch(line):
            section.repeated.append(found[1])
        elif section.frames and (not line or line[0] == " " or _ARROW.fullmatch(line)):
            section.frames[-1].body.append(line)
        elif line and not _HEAD.fullmatch(line):
            message.append(line)
    section.message = "\n".join(message).rstrip()
    return section


def _frame(line: str) -> _Frame | None:
    for pattern in _FRAMES:
        if found := pattern.fullmatch(line):
            return _Frame(found["path"], found["line"] or "", found["name"] or "")
    return None


def _own_lines(section: _Section) -> Iterator[str]:
    """The frames of the agent's code, each once, with the line that was running."""
    own = [frame for frame in section.frames if frame.is_own]
    counts = Counter(frame.place for frame in own)
    # In the order in which they last ran. Of a comprehension, which has a frame of its own, IPython shows another line.
    frames = list({frame.place: frame for frame in reversed(own)}.values())[::-1]
    half = _MAX_FRAMES // 2
    left_out = len(frames) - 2 * half
    for index, frame in enumerate(frames):
        if not half <= index < half + left_out:
            yield frame.place
            yield from (f"    {line}" for line in frame.code or _timed_code(section, frame))
            if (count := counts[frame.place]) > _MAX_UNCOUNTED:
                yield f"    [{count} times]"
        elif index == half:
            yield f"[… {plural(left_out, 'more frame')} of this code …]"
    yield from (f"[repeated: {text}]" for text in section.repeated)


def _timed_code(section: _Section, frame: _Frame) -> list[str]:
    """The line of a `%%time` cell that was running."""
    if frame.path != _TIMED:
        return []
    arrows = (found for each in section.frames for line in each.body if (found := _ARROW.fullmatch(line)))
    cells = (arguments[-1] for arrow in arrows for name, *arguments in [_call(arrow[2])] if name == "run_cell_magic")
    lines = next(cells, "").split("\n")[int(frame.line) - 1 :][:1]
    return [_code(line) for line in lines]


def _raised(section: _Section) -> Iterator[str]:
    """The frame of a library in which the exception was raised."""
    if not section.frames[-1].is_own:
        yield section.frames[-1].place


def _causes(sections: Sequence[_Section], message: str) -> Iterator[str]:
    """One line for each cause, the latest first, unless it adds nothing."""
    told, causes = message, []
    for section, later in zip(sections[-2::-1], sections[:0:-1], strict=True):
        if inner := _embedded(section):
            causes.append(f"Raised in another process{_at(inner, later)}")
        elif (said := _first_line(section.message)) and not _is_told(said, told):
            causes.append(_cut(f"{section.link} {said}", _MAX_CAUSE_CHARS) + _at(section, later))
            told += f"\n{said}"
    yield from causes[:_MAX_CAUSES]
    if left_out := len(causes[_MAX_CAUSES:]):
        yield f"[… {left_out} more causes; {_WHERE} …]"


def _is_told(cause: str, told: str) -> bool:
    """Whether the message of a cause is in those that are shown already."""
    text = cause.partition(": ")[2]
    return f"\n{cause}\n" in f"\n{told}\n" or (len(text) >= _MIN_TOLD_CHARS and text in told)


def _embedded(section: _Section) -> _Section | None:
    """The exception of another process, whose traceback was sent as text in the message of this one."""
    _, head, inner = section.message.partition("Traceback (most recent call last):\n")
    return _section(inner.rstrip('"\n').split("\n")) if head else None


def _at(section: _Section, later: _Section) -> str:
    """Where the agent's code raised a cause.

    Of frames that also handled it, IPython shows only the line of the handler.
    """
    handlers = {frame.place for frame in later.frames}
    own = [frame for frame in section.frames if frame.is_own]
    if not own or own[-1].place in handlers:
        return ""
    code = own[-1].code
    return f" at {_in_cell(own[-1].place)}" + (f": {code[0].strip()}" if code else "")


def _first_line(text: str) -> str:
    return next((line for line in text.split("\n") if line.strip()), "")


def _as_written(code: str) -> str:
    """A line of code as the agent wrote it: magics and shell commands with their prefix."""
    name, *arguments = _call(code)
    return f"{_PREFIXES[name]}{' '.join(arguments[:2])}".rstrip() if name else code


def _call(code: str) -> list[str]:
    """The name and arguments of the call that IPython makes of a magic or a shell command; empty for other code."""
    if not code.startswith(_MAGIC):
        return [""]
    try:
        tree = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [""]
    if not (isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute) and tree.func.attr in _PREFIXES):
        return [""]
    return [tree.func.attr, *(str(each.value) for each in tree.args if isinstance(each, ast.Constant))]


def _code(line: str) -> str:
    """A line of code without its indentation; the beginning and the end of a long one."""
    code, half = line.strip(), _MAX_CODE_CHARS // 2
    return code if len(code) <= _MAX_CODE_CHARS else f"{code[:half]} … {code[-half:]}"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _clipped_at_caret(code: str, caret: str) -> list[str]:
    """A line of code and the caret below it, without the indentation, and cut around the caret."""
    column = len(caret) - len(caret.lstrip())
    start = max(len(code) - len(code.lstrip()), column - _MAX_CODE_CHARS // 2) if column else 0
    start = min(start, column)
    return [_cut(code[start:], _MAX_CODE_CHARS), caret[start:].rstrip()[:_MAX_CODE_CHARS]]
