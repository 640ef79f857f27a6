"""The directory tree is the architecture. import-linter checks import directions and cycles; see pyproject.toml."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import nbtape

SOURCES = Path(nbtape.__file__).parent
MODULES = [path for path in SOURCES.rglob("*.py") if path.name != "__init__.py"]

#: Names shared by modules with the same role in parallel packages.
PARALLEL = {"client", "manager"}


def test_the_top_level_has_only_packages_and_modules_that_users_import() -> None:
    modules = {path.stem for path in MODULES if path.parent == SOURCES}
    assert modules == {"__main__", "_version", "environment", "errors", "results"}


def test_every_package_has_a_docstring() -> None:
    silent = [
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("__init__.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_two_modules_share_a_name() -> None:
    # A command and the code that it runs may share one: modules in cli/ are named after their command.
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        if path.parent != SOURCES / "cli":
            places[path.stem].append(str(path.relative_to(SOURCES)))
    assert {name for name, paths in places.items() if len(paths) > 1} == PARALLEL


def test_no_module_has_a_generic_name() -> None:
    assert not {path.stem for path in MODULES} & {"utils", "helpers", "misc", "common"}


def test_no_module_hides_a_name_that_its_package_imports() -> None:
    # Importing a submodule sets its name in the package and replaces what the package imported before.
    for path in SOURCES.rglob("__init__.py"):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {alias.asname or alias.name for node in imports for alias in node.names}
        assert not names & {module.stem for module in path.parent.glob("*.py")}, path


#: Packages that work in directories where hostile code can write, and the path methods that open or move files.
UNTRUSTED = ("notebook", "session", "export", "replay", "watch", "integrations", "cli", "messages", "summary")
OPENING = {"read_text", "read_bytes", "write_text", "write_bytes", "symlink_to", "hardlink_to", "unlink", "mkdir"}

#: Other files that they open: files of the installed package, new directories, and a token file named by the user.
OTHERS = {
    "cli/completion.py: script.read_text",
    "cli/kernel_options.py: directory.mkdir",
    "cli/mcp_token.py: open",
    "watch/page_server.py: ours.joinpath('live.css').read_text",
    "watch/page_server.py: ours.joinpath('live.js').read_text",
}


def test_only_one_module_opens_files_that_hostile_code_can_reach() -> None:
    # Ruff bans the functions except the builtin `open`, but does not know which objects are paths.
    found = set()
    for path in (path for package in UNTRUSTED for path in (SOURCES / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                is_opening = isinstance(node.func, ast.Attribute) and node.func.attr in OPENING
                if called == "open" or (is_opening and "files(" not in called):
                    found.add(f"{path.relative_to(SOURCES)}: {called}")
    assert found == OTHERS
