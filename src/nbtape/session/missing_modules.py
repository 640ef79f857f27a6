"""Explain a ModuleNotFoundError: in which Python the module is missing, and how to install it there."""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.text import fit_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_MISSING: Final = re.compile(r"No module named '([A-Za-z_]\w{0,99})'")

_MAX_PATH_CHARS: Final = 500

#: Packages that have another name than their module.
_PACKAGES: Final[Mapping[str, str]] = {
    "Crypto": "pycryptodome",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "jwt": "pyjwt",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}

_NAME: Final = "interpreter"

#: Ask a kernel for its interpreter and whether that has pip.
INTERPRETER: Final = {
    _NAME: "(__import__('sys').executable, __import__('importlib.util').util.find_spec('pip') is not None)"
}


def missing_module(error_name: str | None, error_value: str | None) -> str:
    """The top-level module that an error reports as missing, if a package may have it; otherwise empty."""
    found = _MISSING.fullmatch(error_value or "") if error_name == "ModuleNotFoundError" else None
    return found[1] if found and found[1] not in sys.stdlib_module_names else ""


def advice(module: str, reply: Mapping[str, Any]) -> str:
    """The note for a missing module, from a kernel's reply to `INTERPRETER`; empty if the reply is invalid."""
    try:
        python, has_pip = ast.literal_eval(reply["user_expressions"][_NAME]["data"]["text/plain"])
    except (TypeError, LookupError, ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    if not (isinstance(python, str) and 0 < len(python) <= _MAX_PATH_CHARS and python.isprintable()):
        return ""
    package = _PACKAGES.get(module, module)
    command = f"%pip install {package}" if has_pip else f"!uv pip install --python {python} {package}"
    return fit_text(f"The Python {python} has no module {module}. If a package has it, install it with `{command}`.")
