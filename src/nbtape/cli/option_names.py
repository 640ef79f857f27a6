"""Rewrite the library's messages for the command line: options instead of arguments."""

from __future__ import annotations

import re
from typing import Final

#: Phrases about arguments that have no option, or not one option each.
_PHRASES: Final = {
    " Increase startup_timeout= on a slow machine.": " Try again when the machine is less busy.",
    " Increase startup_timeout= if the server is slow.": " Try again when the server is less busy.",
    " Set another user=, or leave it out.": " Use an --output-dir that does not belong to root.",
    " (memory=)": "",
    "token= (or headers= of JupyterConnectionInfo)": "token=",
    'network="none"': "--network none",
    '"none".': "none.",
    "Use use_https=, port= and base_path= for the rest of a URL.": "Correct the URL of --server.",
    "in_place=True": "--in-place",
    "trust_notebook_settings=True": "--trust-notebook-settings",
    "JupyterCodeExecutor.resume() or `nbtape run --resume` recovers": "`nbtape run --resume` recovers",
}

#: The option or environment variable of an argument.
_OPTIONS: Final = {
    "allow_remote": "--allow-remote",
    "base_image": "--base-image",
    "code_tags": "--code-tag",
    "ca_file": "the environment variable SSL_CERT_FILE",
    "network": "--network",
    "output_dir": "--output-dir",
    "parameters": "--parameter",
    "python": "--python",
    "timeout": "--timeout",
    "token": "the environment variable JUPYTER_TOKEN",
    "until": "--until",
}

#: An argument as messages write it, such as `timeout=`. With a value after the sign, it is not one (as in a URL).
_ARGUMENT: Final = re.compile(rf"(?<![\w?&])({'|'.join(_OPTIONS)})=(?=[\s,.;)]|$)")


def as_options(message: str) -> str:
    """Replace argument names in a message with options and environment variables."""
    for phrase, own in _PHRASES.items():
        message = message.replace(phrase, own)
    return _ARGUMENT.sub(lambda found: _OPTIONS[found[1]], message)
