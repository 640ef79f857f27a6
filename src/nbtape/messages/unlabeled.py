"""What a fenced block without a label is: Python, code that only a kernel can judge, or a sample."""

from __future__ import annotations

import ast
import re
import threading
import warnings
from typing import Final

from nbtape.messages.labels import is_known, is_runnable, language_of

# Parsing takes about a kilobyte of memory for each character of a hostile block.
_MAX_PARSED_CHARS: Final = 100_000

_PARSED_NAME: Final = "<unlabeled code block>"
_parsing = threading.Lock()

_MAGIC = re.compile(
    r"^[ \t]*(?:%%?[A-Za-z]|![A-Za-z~./$({]|\w[\w, ]*=[ \t]*[%!]\w|\?{0,2}[\w.]+\?{1,2}[ \t]*$)", re.MULTILINE
)
_MAGIC_LINE = re.compile(r"^([ \t]*)(?:\w[\w., ]*=[ \t]*)?[%!?].*$|^([ \t]*)[\w.]+\?{1,2}[ \t]*$", re.MULTILINE)

# Trees and frames, tracebacks, diffs, and sessions of Python, IPython or a shell.
_SAMPLE = re.compile(
    r"""^(?:
        [ \t]*[├└│╰╭┌╔╒║═─] | Traceback[ ]\(most[ ]recent[ ]call[ ]last\) | @@[ ].*@@ | diff[ ]--git
        | >>>[ ] | (?:In|Out)[ ]?\[\d*\]: | \$[ ] | [\w.-]+@[\w.-]+:\S*[$\#][ ]
    )""",
    re.MULTILINE | re.VERBOSE,
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_SHELL_COMMAND = re.compile(r"(?:pip3?|python3?|conda)[ \t]\S")
_STATEMENT = re.compile(
    r"""^[ \t]*(?:
        import[ ]\w | from[ ][\w.]+[ ]import\b | (?:async[ ])?def[ ]\w+ | class[ ]\w+.*: | return\b | print\b[ \t]*["'(]
        | (?:for|while|if|elif|with)\b.*:[ \t]*(?:\#.*)?$ | (?:try|else|finally|except\b.*):[ \t]*$
        | [A-Za-z_][\w.\[\]'"]*[ \t]*[-+*/]?=[ \t]*[^=\s]
    )""",
    re.MULTILINE | re.VERBOSE,
)

_WORDS = re.compile(r"\s*[^\W\d_]+(?:['\u2019]\w+)?[:.,!?]?(?:[ ]+[^\W\d_]+|[ \t]*$)", re.MULTILINE)

# A line of prose such as "**Expected output:**" or "This prints:".
_SAYS_OUTPUT = re.compile(
    r"""(?:
        ^\W*(?:(?:the|an?|your|expected|sample|example|actual|program|console|terminal)[ ])*
        (?:output|result|stdout)s?(?:[ ](?:is|was|will|would|should|could|looks?|may|might)\b.*)?
        | \b(?:this|it|which|that|code|script)[ ](?:(?:will|would|should)[ ])?
        (?:print|output|return|produce|display)s?
        | \b(?:you|we)[ ](?:(?:should|will|would|might|may|could|then)[ ])+(?:see|get)\b[^:]*
    )
    (?:[ ]something)?(?:[ ]like(?:[ ]this)?|[ ]\([^()]*\)|[ ]as[ ]follows)?\W*$""",
    re.IGNORECASE | re.VERBOSE,
)

_ACTIONS: Final = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr, ast.Subscript, ast.JoinedStr)


def language_without_label(code: str, lead: str) -> str | None:
    """The language of a block without a label: "python", a shell's, "" for the kernel's, or None for a sample.

    Args:
        code: The block.
        lead: The line of prose above it.
    """
    if _SAMPLE.search(code) or _is_diff(code) or (_FENCE.search(code) and not is_python(code)):
        return None
    if _SAYS_OUTPUT.search(lead[-200:]) and not _STATEMENT.search(code):
        return None
    if _is_too_long(code) or _MAGIC.search(code):
        return ""
    if all(map(_SHELL_COMMAND.match, filter(str.strip, code.split("\n")))):
        return "bash"
    try:
        tree = _parsed(code)
    except SyntaxError:
        return "" if _STATEMENT.search(code) else None
    except (ValueError, MemoryError, RecursionError):
        # NUL, lone surrogates, or nested too deeply.
        return ""
    return "python" if any(map(_acts, tree.body)) else None


def label_in_code(code: str) -> tuple[str, str] | None:
    """The language and the rest of code whose first line is a label, which some models put below the fence."""
    label, newline, rest = code.lstrip().partition("\n")
    if not (newline and rest.strip() and is_runnable(label.strip())):
        return None
    return language_of(label), rest


def is_sentence(code: str) -> bool:
    """Whether a text starts with words and is not code."""
    return bool(_WORDS.match(code)) and not (_STATEMENT.search(code) or _MAGIC.search(code) or is_python(code))


def is_python(code: str) -> bool:
    """Whether code parses as Python, apart from its magics."""
    code = _MAGIC_LINE.sub(r"\1\2pass", code)
    try:
        return not _is_too_long(code) and bool(_parsed(code))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False


def _is_too_long(code: str) -> bool:
    return len(code) > _MAX_PARSED_CHARS


def _parsed(code: str) -> ast.Module:
    # An escape such as "\d" warns, which may be an error. catch_warnings is not safe among threads, so they take turns,
    # and the filter is only for this file name.
    with _parsing, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=re.escape(_PARSED_NAME))
        return ast.parse(code, _PARSED_NAME)


def _acts(statement: ast.stmt) -> bool:
    """Whether a statement does more than name a value, as output, data and lists of files do when read as Python."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is not None
    if not isinstance(statement, ast.Expr):
        return True
    return any(isinstance(node, _ACTIONS) or _is_attribute(node) for node in ast.walk(statement))


def _is_attribute(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and not is_known(node.attr)


def _is_diff(code: str) -> bool:
    """Whether each line is added, removed or context, and one of each kind is there."""
    lines = [line for line in code.split("\n") if line.strip()]
    firsts = {line[0] for line in lines}
    return firsts <= set("+-@ ") and {"+", "-"} <= firsts
