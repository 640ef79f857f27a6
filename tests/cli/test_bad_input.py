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
    "number": {"cells": 5},
    "cell": {"cells": [NOTEBOOK["cells"][0], None]},
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
    "run m.md --output-dir": "--output-dir needs a value. See `nbtape run --help`",
    "run m.md more.md": "Got unexpected extra argument",
    "run m.md --timeout x": "Invalid value for '--timeout': 'x' is not a number",
    "run m.md --timeout inf": "--timeout must be a finite number of seconds, at least 1, not inf",
    "run m.md --until 2": "--until needs --resume",
    "run m.md --resume n.ipynb --until x": "Invalid value for '--until': 'x' is not a whole number",
    "run m.md --resume n.ipynb --until -1": "-1 is less than 0",
    "run m.md --resume n.ipynb --until 99": "--until must be from 0 to 2 (the number of cells), not 99",
    "run m.md --resume n.ipynb --output-dir x": "--output-dir has no use with --resume",
    "run m.md --resume n.ipynb --notebook x": "--notebook has no use with --resume",
    "run m.md --python x --server http://127.0.0.1:1/": "--python is for local kernels and cannot be combined with "
    "--server.",
    "run m.md --docker --server http://127.0.0.1:1/": "--docker and --server cannot be combined",
    "run m.md --network none": "--network needs --docker.",
    "run m.md --base-image x": "--base-image needs --docker.",
    "run m.md --docker --output-dir /etc": "A container must not mount /etc",
    "show n.ipynb --cell x": "'x' is not a whole number",
    "show n.ipynb --cell 9": "There is no cell 9; the notebook has cells 0 to 1",
    "show n.ipynb --block 0": "There is no block 0; the notebook has only block 1",
    "show n.ipynb --block 1 --cell 1": "--block and --cell cannot be combined",
    "watch n.ipynb --port 80": "--port needs --web",
    "watch n.ipynb --web --port 70000": "70000 is not from 1 to 65535",
    "watch n.ipynb --cells -1": "-1 is less than 0",
    "export n.ipynb --to pdf": "'pdf' is not one of",
    "export n.ipynb --docker": "--docker needs --clean",
    "export n.ipynb --python x": "--python needs --clean",
    "replay n.ipynb -p n": "-p needs a name and a value, as in -p n 20. See `nbtape replay --help`",
    "replay n.ipynb --jobs 0": "0 is less than 1",
    "replay n.ipynb --allow-ignored": "--allow-ignored needs --trust-notebook-settings",
    "mcp --http x": "'x' is not [HOST:]PORT. Use, for example, 8931",
    "mcp --allow-remote": "--allow-remote needs --http",
    "mcp --token-fd 3": "--token-fd needs --http.",
    "completion tcsh": "Invalid argument 'tcsh'. Choose one of 'bash', 'zsh', 'fish'.",
    # Files
    "run none.md": "none.md does not exist. Check the path",
    "run directory": "directory is a directory. Choose",
    "run empty.md": "empty.md contains no code to run",
    "run latin.md": "latin.md is not UTF-8",
    "run none.ipynb": "none.ipynb does not exist. Check the path",
    "run none.csv": "none.csv does not exist. Check the path",
    "run n.ipynb": "n.ipynb is a notebook. `nbtape replay n.ipynb` reruns it, and `nbtape run MORE.md --resume",
    "run /dev/null": "it is a device, not a regular file: use another path",
    "run m.md --output-dir m.md": "m.md is a file, not a directory. Choose another one",
    "run m.md --output-dir m.md/below": "m.md is a file, not a directory. Choose another one",
    "run m.md --notebook ../x": "set the directory with --output-dir",
    "run m.md --resume none.ipynb": "none.ipynb does not exist. Check the path",
    "run m.md --resume none": "/none does not exist. Check the path",
    "run m.md --server localhost:8888": "'localhost:8888' is not the URL of a server. Did you mean http://localhost:8888?",
    "run m.md --python /none/python": "/none/python does not exist. Set the path of an interpreter or of a virtual "
    "environment with --python.",
    "run m.md --python m.md": "m.md is not executable",
    "run m.md --server nope": "'nope' is not the URL of a server. Use the form https://host:port/base/path/",
    "show empty.ipynb": "invalid JSON at line 1, column 1",
    "show directory.ipynb": ": directory.ipynb is a directory. Name a notebook in it.",
    "show directory": ": directory is a directory. Name a notebook in it.",
    "show list.ipynb": "list.ipynb is not a notebook: its JSON is [1], not an object.",
    "show object.ipynb": "object.ipynb is not a notebook: its JSON has no key nbformat.",
    "show number.ipynb": "is not a valid notebook: cells is 5, not a list",
    "show without.ipynb": "is not a valid notebook: cells is missing",
    "show cell.ipynb": "is not a valid notebook: cells/1 is null, not an object",
    **{
        f"{command} m.md": "m.md is not a notebook: its name does not end in .ipynb. For Markdown or a script, use "
        "`nbtape run "
        for command in ("show", "watch", "export", "replay", "environment", "run m.md --resume")
    },
    **{
        f"{command} none": "none does not exist. Check the path"
        for command in ("show", "watch", "export", "replay", "environment")
    },
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
    "environment n.ipynb": "n.ipynb has no record of its environment",
    "mcp --http 0 --token-file none": "--token-file none cannot be read: No such file or directory",
    # Formats
    **{
        f"{command} {name}.ipynb": told
        for command in ("show", "export", "replay", "environment")
        for name, told in (
            ("v9", "v9.ipynb has nbformat 9, but nbtape reads nbformat 1 to 4. Save it as nbformat 4"),
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
    (place / "list.ipynb").write_text("[1]")
    (place / "object.ipynb").write_text("{}")
    (place / "without.ipynb").write_text('{"nbformat": 4}')
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
