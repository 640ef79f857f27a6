"""Read the source of `nbtape run`, a Markdown transcript or a percent script, as prose and code blocks."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from nbtape.common.untrusted_files import ObstacleError, read_file
from nbtape.errors import MissingExtraError, SourceError
from nbtape.messages.code_blocks import CodeBlock, Prose
from nbtape.messages.code_tags import checked_code_tags
from nbtape.messages.extractor import split_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Reader: TypeAlias = Callable[[str], list[Prose | CodeBlock]]

#: Maximum bytes of a file to run.
MAX_SOURCE_BYTES: Final = 1 << 28

# The shebang, encoding and YAML header of a script. Jupytext would treat the shebang as a commented shell command.
_HEADER = re.compile(
    r"\A(?:#!.*\n)?"
    r"(?:#[ \t]*(?:-\*-.*|(?:en)?coding[:=][ \t]*[-\w.]+[ \t]*)\n)?"
    r"(?:[ \t]*\n)*"
    r"(?:#[ \t]*---[ \t]*\n(?:#.*\n)*?#[ \t]*---[ \t]*(?:\n|\Z))?"
)

# Jupytext treats a comment such as "# rm -rf build" as a commented shell command and would run it. Here, only a comment
# that starts with % or ! (or assigns one) is a magic.
_WORDY_COMMENT = re.compile(r"^([ \t]*#[# \t]*)(?=[a-z](?!\w*[ \t]*=[ \t]*[%!]))", re.MULTILINE)

# Jupytext also splits lines at these characters, even in a string. The stand-ins are private Unicode characters.
_SHIELD = "\U0010fe00"
_HIDDEN = {ord(char): chr(0x10FE01 + number) for number, char in enumerate("\v\f\x1c\x1d\x1e\x85\u2028\u2029")}
_SHOWN = {ord(stand_in): chr(char) for char, stand_in in _HIDDEN.items()} | {ord(_SHIELD): ""}


def read_source(path: str, code_tags: Sequence[str] = ()) -> list[Prose | CodeBlock]:
    """Read a Markdown file (`.md`, `.markdown`, `.txt` or no suffix), a percent script (`.py`), or stdin (`-`).

    Args:
        path: The file.
        code_tags: For Markdown; see `MarkdownCodeExtractor`.

    Raises:
        SourceError: The source cannot be read or has nothing to run.
    """
    markdown = partial(split_message, code_tags=checked_code_tags(code_tags))
    if path == "-":
        name, parts = "Standard input", markdown(_decoded(sys.stdin.buffer.read(), "Standard input"))
    else:
        reader = _reader(Path(path), markdown)
        name, parts = path, reader(_decoded(_content(Path(path)), path))
    if not any(isinstance(part, CodeBlock) for part in parts):
        raise SourceError(
            f"{name} contains no code to run. Put code into fenced blocks (```python) of a Markdown file, "
            "not into a <think> section, or into the code cells (# %%) of a .py file."
        )
    return parts


def _reader(path: Path, markdown: _Reader) -> _Reader:
    """The reader for a file name. A large file of the wrong type is thus refused before it is read."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise SourceError(f"{path} does not exist. Check the path, or pass - to read standard input.")
    if path.is_dir():
        raise SourceError(f"{path} is a directory. Choose a Markdown or .py file in it.")
    if suffix == ".py":
        return partial(_percent_cells, name=str(path))
    if suffix in {".md", ".markdown", ".txt", ""}:
        return markdown
    if suffix == ".ipynb":
        raise SourceError(
            f"{path} is a notebook. `nbtape replay {path}` reruns it, and `nbtape run MORE.md --resume {path}` "
            "continues it."
        )
    raise SourceError(
        f"{path} has the unknown suffix {suffix}. Rename it to .md (Markdown) or .py (percent cells), or pass - as the "
        "source and send Markdown on standard input."
    )


def _content(path: Path) -> bytes:
    try:
        return read_file(path, MAX_SOURCE_BYTES)
    except ObstacleError as exc:
        raise SourceError(f"{path} cannot be read: {exc.strerror}. Pass - to read standard input.") from exc
    except OSError as exc:
        raise SourceError(f"{path} cannot be read: {exc.strerror or exc}. Check its permissions.") from exc


def _decoded(content: bytes, name: str) -> str:
    """Decode UTF-8, normalize line ends to line feeds, and drop a byte order mark."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise SourceError(f"{name} is not UTF-8 (at byte {exc.start}). Save it as UTF-8 and run it again.") from exc
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _percent_cells(script: str, name: str) -> list[Prose | CodeBlock]:
    """The code and Markdown cells of https://jupytext.readthedocs.io/en/latest/formats-scripts.html."""
    MissingExtraError.check("Reading a percent script", "export", jupytext="jupytext")
    import jupytext  # type: ignore[import-untyped]

    script = _WORDY_COMMENT.sub(rf"\1{_SHIELD}", _HEADER.sub("", script)).translate(_HIDDEN)
    try:
        # The leading marker keeps Jupytext from looking for a header.
        notebook = jupytext.reads("# %%\n" + script, fmt="py:percent")
    except Exception as exc:
        raise SourceError(
            f"The percent cells of {name} cannot be read: {exc}. Check the options after the # %% markers."
        ) from exc
    cells = ((cell.cell_type, cell.source.translate(_SHOWN).strip("\n")) for cell in notebook.cells)
    return [
        Prose(source) if kind == "markdown" else CodeBlock(source, "python")
        for kind, source in cells
        if source.strip() and kind != "raw"
    ]
