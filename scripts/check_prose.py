"""Finds words to avoid in what people read: messages, help, docstrings, comments and Markdown.

Text between backquotes or double quotes is skipped: it is code, or somebody's words.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REPOSITORY: Final = Path(__file__).resolve().parents[1]
#: Generated from messages, which are checked where they are written.
GENERATED: Final = frozenset({"tests/faults.md"})
KINDS: Final = ("message", "help", "docstring", "comment", "markdown")

#: What to avoid, as a regular expression, and what to write instead. A pattern matches whole words.
WORDS: Final = (
    (r"tells?|telling|(is|are|be|being|been|was|were) told|told", "report, return, print, show"),
    (r"nobody|somebody|anybody|whoever|whosoever", "no one, another process, another user, the caller"),
    (r"(?:(?<=[,;:.] )|(?<=and ))who(?= (thinks|likes|knows|wants|reads|has|can|gives|asks|looks|trusts|does) )",
     "you, users who"),
    (r"(?<!\bwho )(?<!\bwhich )goes on|(go|going|gone|went) on(?! (strike|the|a)\b)", "continues, resumes"),
    (r"(can|cannot|could|must|may|might|to) be had", "is available, is not possible"),
    (r"(had|have|has) (it|them|one|another|this) (\w+ed|made|done|run|built|sent|kept|put)\b", "make, let, start"),
    (r"what is wanted|what has come|what comes|what is (done|there|given|asked)", "the requested X, the received X"),
    (r"(nothing|none|all|everything|anything|no one|everyone) but|but (for|one)\b|in all but|sees but", "except, only"),
    (r"save for|save where", "except"),
    (r"(is|are|was|were) (?-i:none)|where none is", "is not, is missing"),
    (r"(?<!there )(is|are|was|were) no(?! (longer|more|such|one)\b)(?= \w)", "is not, is missing"),
    (r"in (the )?place of|in (its|their) (place|stead)", "instead of"),
    (r"such a thing|such things|all of it|all that(?= (is|was|it|they|the|a|this|has|have|comes|you) )", "name it"),
    (r"by (its|their|his|her) own word|(is|at) (its|the) word of|by the word of", "as reported by the kernel"),
    (r"forth and back|time and again", "repeatedly"),
    (r"of (this|that|our|the user's) machine", "local"),
    (r"when you ask|that are there when", "pre-started (pooled)"),
    (r"(is|are|was|were|be) ended", "stopped, exited, was killed"),
    (r"heirs?|epochs?|farewell|patience|glance", "successor, generation, timeout, poll interval"),
    (r"pictures?", "image"),
    (r"JSON no more|no more JSON", "the precise fault with line number or key"),
    (r"(it|this) makes no sense", "the precise fault"),
    (r"he|his|him", "they, the user"),
    (r"if need be|need be", "if needed"),
    (r"(besides|beside) it(?! is)|what lies between", "next to it"),
    (r"does not (any more|any longer)|not any more|no more(?= (is|are|in|of)\b)", "no longer"),
    (r"in spite of", "despite"),
    (r"say (how|which|what|where|it|one)|says (its|which|how|what|where|nothing|that|not)", "name, report, print"),
)  # fmt: skip

#: The same as one pattern per entry. Identifiers such as kernel_epoch are not words.
PATTERNS: Final = tuple(
    (re.compile(rf"(?<![\w.-])(?:{pattern})(?![\w-])", re.IGNORECASE), advice) for pattern, advice in WORDS
)

#: A heading or a fence of Markdown, and what is skipped in any text.
FENCE: Final = re.compile(r"^\s*(`{3,}|~{3,})")
QUOTED: Final = re.compile(r"``.+?``|`[^`\n]+`|\"[^\"\n]{1,200}\"|“[^”]{1,200}”|<!--.*?-->|\]\([^)]*\)", re.DOTALL)

#: Functions and arguments whose strings are shown by `--help`.
_OPTION_MAKERS: Final = {"json_option", "timeout_option", "kernel_option"}
_HELP_ARGUMENTS: Final = {"help", "short_help", "epilog", "description", "metavar", "tables", "meaning"}

#: Files that hold the list itself.
OWN: Final = {"scripts/check_prose.py", "tests/scripts/test_prose.py"}


class Text(NamedTuple):
    """A piece of text: its kind, the line in which it begins, and its source."""

    kind: str
    line: int
    text: str


class Hit(NamedTuple):
    """A phrase to avoid."""

    path: str
    line: int
    kind: str
    found: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind}: {self.found!r}: write {self.advice}"


def hits(path: str, texts: Sequence[Text]) -> Iterator[Hit]:
    """The phrases to avoid in the texts of one file."""
    for text in texts:
        readable, lines = _unwrapped(QUOTED.sub(lambda match: re.sub(r"[^\n]", "\0", match[0]), text.text))
        for pattern, advice in PATTERNS:
            for match in pattern.finditer(readable):
                yield Hit(path, text.line + lines[match.start()], text.kind, match[0], advice)


def _unwrapped(text: str) -> tuple[str, list[int]]:
    """A text with one space, or one newline between paragraphs, for each run of blanks; and the line of each character.

    A phrase may be broken over two lines.
    """
    characters: list[str] = []
    lines: list[int] = []
    line = 0
    for part in re.split(r"(\s+)", text):
        breaks = part.count("\n")
        kept = part if not part.isspace() else "\n" if breaks > 1 else " "
        characters.append(kept)
        lines += [line] * len(kept)
        line += breaks
    return "".join(characters), lines


def texts_of(path: Path) -> list[Text]:
    """The texts of a file; none if nothing is known of its kind."""
    content = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".py":
        return [*python_strings(content), *python_comments(content)]
    if path.suffix == ".md":
        return [markdown(content)]
    if path.suffix == ".ipynb":
        return list(notebook_cells(content))
    if content.startswith("#!") and "python" in content.partition("\n")[0]:
        return [*python_strings(content), *python_comments(content)]
    if content.startswith(("#!/bin/sh", "#!/usr/bin/env bash", "#!/bin/bash")) or path.suffix == ".sh":
        return list(shell(content))
    return []


def python_strings(content: str) -> Iterator[Text]:
    """Docstrings, help and messages of a Python file, and the names of its tests."""
    tree = ast.parse(content)
    docstrings = set(_docstrings(tree))
    helps = set(_helps(tree))
    parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield Text("docstring", node.lineno, node.name.replace("_", " "))
        text = _string(node)
        if text is None or node in parts or _is_code(text):
            continue
        assert isinstance(node, ast.expr)
        kind = "help" if node in helps else "docstring" if node in docstrings else "message"
        yield Text(kind, node.lineno, text)


def _docstrings(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def _helps(tree: ast.Module) -> Iterator[ast.expr]:
    """The expressions whose strings are shown by `--help`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and _is_command(node):
            yield from _docstrings(ast.Module(body=[node], type_ignores=[]))
        elif isinstance(node, ast.Call):
            shown: list[ast.expr] = [node] if _name(node.func) in _OPTION_MAKERS else []
            shown += [keyword.value for keyword in node.keywords if keyword.arg in _HELP_ARGUMENTS]
            yield from (part for each in shown for part in ast.walk(each) if isinstance(part, ast.expr))


def _is_code(text: str) -> bool:
    """Whether a string is a name, a regular expression or Python code."""
    return " " not in text.strip() or any(sign in text for sign in ("(?", "\\b", "__", "\\d"))


def _is_command(node: ast.AST) -> bool:
    """Whether a function is a command of click, whose docstring is its help."""
    decorators = [_name(each) for each in getattr(node, "decorator_list", ())]
    return any(name in {"command", "group"} for name in decorators)


def _name(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _string(node: ast.AST) -> str | None:
    """A string, or an f-string with {} for what is put into it; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(each.value if isinstance(each, ast.Constant) else "{}" for each in node.values)  # type: ignore[misc]
    return None


def python_comments(content: str) -> Iterator[Text]:
    """Comments of a Python file; those on lines that follow each other are one text."""
    begun = 0
    lines: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type != tokenize.COMMENT:
            continue
        if lines and token.start[0] != begun + len(lines):
            yield Text("comment", begun, "\n".join(lines))
            lines = []
        begun = token.start[0] if not lines else begun
        lines.append(token.string.lstrip("#: "))
    if lines:
        yield Text("comment", begun, "\n".join(lines))


def markdown(content: str, line: int = 1) -> Text:
    """Markdown without its code blocks."""
    kept: list[str] = []
    fence = ""
    for each in content.splitlines():
        match = FENCE.match(each)
        if match and (not fence or match[1].startswith(fence)):
            fence = "" if fence else match[1]
            kept.append("")
        else:
            kept.append("" if fence else each)
    return Text("markdown", line, "\n".join(kept))


def notebook_cells(content: str) -> Iterator[Text]:
    """The Markdown cells of a notebook; the line of a text is where its cell's source begins."""
    for cell in json.loads(content)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source:
            begin = content.find(json.dumps(source.splitlines()[0], ensure_ascii=False)[1:-1])
            yield markdown(source, content.count("\n", 0, max(begin, 0)) + 1)


def shell(content: str) -> Iterator[Text]:
    """Comments of a shell script, its help (in here-documents), and its messages (quoted words)."""
    ending = ""
    for number, line in enumerate(content.splitlines(), 1):
        if ending:
            if line.strip() == ending:
                ending = ""
            else:
                yield Text("help", number, line)
        elif match := re.search(r"<<-?\s*'?(\w+)'?", line):
            ending = match[1]
        elif line.lstrip().startswith("#"):
            yield Text("comment", number, line.lstrip("# "))
        elif match := re.match(r"""\s*(?:.*\|\|\s*)?(?:fail|say|echo|printf|wrong_usage|part)\s+["'](.+)["']""", line):
            yield Text("message", number, match[1])


def files(paths: Sequence[str]) -> list[Path]:
    """The files below paths; of the repository, those that git knows or would take."""
    if not paths:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607  (from PATH)
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        names = sorted(set(listed.stdout.splitlines()) - GENERATED)
        return [REPOSITORY / name for name in names if (REPOSITORY / name).is_file()]
    found: list[Path] = []
    for path in map(Path, paths):
        inside = (each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
        found += [path] if path.is_file() else sorted(inside)
    return found


def main() -> int:
    """Print the hits and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/prose",
        description="Find words to avoid in what people read. The exit code is 1 if there are any.",
        epilog="Text in backquotes or double quotes is skipped.",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="Files and directories (default: the repository).")
    parser.add_argument(
        "--kind",
        default=",".join(KINDS),
        metavar="KIND[,KIND]",
        help=f"Check only these kinds of text, of {', '.join(KINDS)} (default: all).",
    )
    parser.add_argument("--list", action="store_true", help="Print the patterns and what to write instead, and exit.")
    arguments = parser.parse_args()
    if arguments.list:
        sys.stdout.write("".join(f"{pattern}\n    {advice}\n" for pattern, advice in WORDS))
        return 0
    kinds = arguments.kind.split(",")
    if unknown := sorted(set(kinds) - set(KINDS)):
        parser.error(f"--kind has {', '.join(unknown)}; choose from {', '.join(KINDS)}")
    if missing := [path for path in arguments.paths if not Path(path).exists()]:
        parser.error(f"{missing[0]} does not exist")
    count = 0
    for path in files(arguments.paths):
        resolved = path.resolve()
        name = resolved.relative_to(REPOSITORY).as_posix() if resolved.is_relative_to(REPOSITORY) else str(path)
        if name in OWN:
            continue
        # The strings of tests are mostly code and its output.
        skipped = {"message"} if name.startswith("tests/") else set()
        texts = [text for text in texts_of(path) if text.kind in kinds and text.kind not in skipped]
        for hit in sorted(set(hits(name, texts))):
            sys.stdout.write(f"{hit}\n")
            count += 1
    if count:
        sys.stderr.write(f"scripts/prose: {count} phrases to rewrite.\n")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
