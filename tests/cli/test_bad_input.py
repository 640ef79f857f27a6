"""Bad input at the command line: one line that names the cause and what to do, in the words of the command line."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
from calling import Ended, answers

NOTEBOOK: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "cells": [
        {"id": "a", "cell_type": "markdown", "source": "text", "metadata": {}},
        {
            "id": "b",
            "cell_type": "code",
            "source": "n = 1",
            "metadata": {"tags": ["parameters"]},
            "execution_count": 1,
            "outputs": [],
        },
    ],
}

#: What the file `name.ipynb` has instead.
ODD: dict[str, dict[str, Any]] = {
    "v9": {"nbformat": 9},
    "text": {"nbformat": "4"},
    "minor": {"nbformat_minor": "5"},
    "null": {"nbformat_minor": None},
    "half": {"nbformat_minor": 4.5},
    "invalid": {"cells": [{"cell_type": "code"}]},
    "cobol": {"metadata": {"kernelspec": {"name": "cobol", "language": "cobol", "display_name": "x"}}},
}

LINES = {
    # Options and arguments
    "nope": "No such command 'nope'",
    "run": "Missing argument 'SOURCE'",
    "run ''": "SOURCE is empty. Give a value",
    "show ''": "NOTEBOOK is empty. Give a value",
    "run m.md --output-dir ''": "--output-dir is empty. Give a value",
    "run m.md --notebook ''": "--notebook is empty. Give a value",
    "run m.md --kernel ''": "--kernel is empty. Give a value",
    "run m.md --output-dir": "requires an argument. See `nbtape run --help`",
    "run m.md more.md": "Got unexpected extra argument",
    "run m.md --timeout x": "Invalid value for '--timeout': 'x' is not a number",
    "run m.md --timeout inf": "--timeout must be a finite number of seconds, at least 1, not inf",
    "run m.md --until 2": "--until needs --resume",
    "run m.md --resume n.ipynb --until x": "Invalid value for '--until': 'x' is not a whole number",
    "run m.md --resume n.ipynb --until -1": "-1 is less than 0",
    "run m.md --resume n.ipynb --until 99": "--until must be from 0 to 2 (the number of cells), not 99",
    "run m.md --resume n.ipynb --output-dir x": "Leave out --output-dir and --notebook",
    "run m.md --docker --server http://127.0.0.1:1/": "--docker and --server cannot be combined",
    "run m.md --network none": "--base-image and --network need --docker",
    "run m.md --docker --output-dir /etc": "A container must not mount /etc",
    "show n.ipynb --cell x": "'x' is not a whole number",
    "show n.ipynb --cell 9": "There is no cell 9; the notebook has cells 0 to 1",
    "show n.ipynb --block 0": "There is no block 0; the notebook has only block 1",
    "show n.ipynb --block 1 --cell 1": "--block and --cell cannot be combined",
    "watch n.ipynb --port 80": "--port needs --web",
    "watch n.ipynb --web --port 70000": "70000 is not from 1 to 65535",
    "watch n.ipynb --cells -1": "-1 is less than 0",
    "export n.ipynb --to pdf": "'pdf' is not one of",
    "export n.ipynb --docker": "--docker, --server and --python need --clean",
    "replay n.ipynb -p n": "Option '-p' requires 2 arguments. See `nbtape replay --help`",
    "replay n.ipynb --jobs 0": "0 is less than 1",
    "replay n.ipynb --allow-ignored": "--allow-ignored needs --trust-notebook-settings",
    "mcp --http x": "'x' is not [HOST:]PORT. Use, for example, 8931",
    "mcp --allow-remote": "--allow-remote needs --http",
    "completion tcsh": "'tcsh' is not one of",
    # Files
    "run none.md": "none.md does not exist. Check the path",
    "run directory": "directory is a directory. Choose",
    "run empty.md": "empty.md contains no code to run",
    "run latin.md": "latin.md is not UTF-8",
    "run n.ipynb": "Use `nbtape replay` to run a notebook",
    "run /dev/null": "it is a device, not a regular file: use another path",
    "run m.md --output-dir m.md": "m.md is a file, not a directory. Choose another one",
    "run m.md --output-dir m.md/below": "m.md is a file, not a directory. Choose another one",
    "run m.md --notebook ../x": "set the directory with --output-dir",
    "run m.md --resume none.ipynb": "it does not exist. Check the path",
    "run m.md --server nope": "'nope' is not the URL of a server. Use the form https://host:port/base/path/",
    "show empty.ipynb": "invalid JSON at line 1, column 1",
    "show directory.ipynb": "it is a directory. Choose a notebook in it",
    "show m.md": "its name does not end in .ipynb. Choose a notebook",
    "watch directory": "directory contains no notebook",
    "export n.ipynb -o out.pdf": "The format of out.pdf is unknown. Set it with --to",
    "export n.ipynb -o n.ipynb": "n.ipynb is the recorded notebook. Choose another output",
    "export n.ipynb -o none/x.ipynb": "none/x.ipynb could not be written: its directory does not exist. Create it",
    "export n.ipynb -o m.md/x.ipynb": "m.md/x.ipynb could not be written: its parent is a file",
    "export n.ipynb -o directory.ipynb": "directory.ipynb could not be written: it is a directory",
    "replay directory": "directory contains no notebook. Choose another directory",
    "replay none*.ipynb": "No notebook matches none*.ipynb. Check the pattern",
    "replay n.ipynb -o out.txt": "out.txt is not the name of a notebook. Choose one that ends in .ipynb",
    "replay n.ipynb v9.ipynb -o m.md": "Output directory m.md is a file, not a directory",
    "replay n.ipynb --report none/r.json": "The directory of the report, none, does not exist. Create it",
    "replay n.ipynb --report directory": "--report directory is a directory. Name a file in it",
    "replay n.ipynb -p nope 3": "n.ipynb has no parameter nope. Its parameters: n",
    "replay n.ipynb -p 'a b' 3": "'a b' is not a name of a Python variable",
    "replay cobol.ipynb -p n 3": "papermill cannot set parameters of cobol notebooks. Leave out --parameter",
    "environment n.ipynb": "it has no record of its environment",
    "mcp --http 0 --token-file none": "--token-file none cannot be read: No such file or directory",
    # Formats
    **{
        f"{command} {name}.ipynb": told
        for command in ("show", "export", "replay", "environment")
        for name, told in (
            ("v9", "it has nbformat 9, but nbtape reads nbformat 1 to 4. Save it as nbformat 4"),
            ("text", 'its nbformat is "4", not an integer. Set it to 4'),
        )
    },
    **{
        f"{command} {name}.ipynb": told
        for command in ("export", "replay", "environment", "run m.md --resume")
        for name, told in (
            ("minor", 'its nbformat_minor is "5", not an integer from 0 to 1000. Set it to 5'),
            ("null", "its nbformat_minor is null, not an integer"),
            ("half", "its nbformat_minor is 4.5, not an integer"),
            ("invalid", "'metadata' is a required property (at cells/0). Repair or remove that part"),
        )
    },
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """The answer to each line."""
    place = tmp_path_factory.mktemp("bad")
    for name, odd in {"n": {}, **ODD}.items():
        (place / f"{name}.ipynb").write_text(json.dumps({**NOTEBOOK, **odd}))
    (place / "m.md").write_text("```python\nprint(1)\n```\n")
    (place / "empty.md").touch()
    (place / "empty.ipynb").touch()
    (place / "latin.md").write_bytes(b"\xff\xfe")
    for name in ("directory", "directory.ipynb"):
        (place / name).mkdir()
    return dict(zip(LINES, answers([shlex.split(line) for line in LINES], place), strict=True))


@pytest.mark.parametrize("line", LINES)
def test_a_bad_input_gets_one_line_with_the_cause_and_the_remedy(line: str, told: dict[str, Ended]) -> None:
    code, out, err = told[line]
    assert (code, out) == (2, ""), err
    assert LINES[line] in err
    assert re.fullmatch(r"nbtape: [^\n]+[.)'?]\n", err)
    assert not re.search(r"\w=[ ,.)]|Errno|Traceback|NoneType|<class|integer range|float", err)
