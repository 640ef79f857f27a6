"""Imports point one way, from the ideas that stand on others to those that stand alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import nbtape

SOURCES = Path(nbtape.__file__).parent

#: A module imports from lines above its own and from no other.
ORDER = """
errors exit_codes consoles layout
blocks results streams listeners languages outputs probe locks turns loopback parameters encoding journal grammars
drafts shelf
reader
sources variables answers
files workdir offload
judging.verdicts
judging.numbers judging.moments judging.durations judging.progress judging.sets
judging.tokens
judging.texts judging.pictures
judging.structures judging.markup
judging.judge
kernels.base kernels.directories kernels.groups kernels.forgotten kernels.connection
kernels.headers kernels.intake kernels.introduction kernels.ipykernel_config kernels.forking
kernels.environment
kernels.ledger kernels.wire kernels.rest
kernels.local kernels.channels kernels.sharing
kernels.remote kernels.forked
servers.notes servers.users servers.base
servers.hosting
servers.gateway servers.lab servers.local servers.engine servers.words
servers.isolation servers.image
servers.container
servers.docker
recorded
merging outofband options
notebook remarks
autosave
recorder overview.cells overview.outline
overview.summary
overview.words watching.writers watching.pieces
watching.looks watching.events
watching.session
resumption replaying.expectations replaying.report
exporting.pictures exporting.cleaning
exporting.markup exporting.report exporting.script
exporting.parts
exporting.page watching.board
exporting.exports watching.serving
replaying.cells
runner
recording
starting
restoring loops replaying.rerun
replaying.engine replaying.page
replaying.replays
exporting.rehearsal
pools.stock
pools.taken
pools.pool epochs
executor
blocking
embedded integrations.calls integrations.given
integrations.autogen_component integrations.smolagents_answer integrations.smolagents_messages
integrations.smolagents_sent
integrations.ag2 integrations.autogen integrations.smolagents integrations.langchain
integrations.openai_agents integrations.pydantic_ai
integrations.mcp_blocks integrations.mcp_reading integrations.mcp_http
integrations.mcp
terminal
cli.plain cli.document cli.candidates
cli.log
cli.command cli.endings cli.waiting
cli.places cli.joining
cli.verdicts cli.table cli.pictures cli.following
cli.live cli.live_page
cli.show cli.export cli.run cli.image cli.replay cli.environment cli.mcp cli.watch cli.completion
cli.commands
cli
__main__
"""
RANKS = {f"nbtape.{name}": rank for rank, line in enumerate(ORDER.strip().splitlines()) for name in line.split()}
PACKAGES = {
    "nbtape",
    "nbtape.kernels",
    "nbtape.export",
    "nbtape.integrations",
    "nbtape.replay.compare",
    "nbtape.summary",
    "nbtape.pools",
    "nbtape.replay",
    "nbtape.servers",
    "nbtape.watch",
}  # their __init__.py gathers names or is empty


def name_of(path: Path) -> str:
    return ".".join(["nbtape", *path.relative_to(SOURCES).with_suffix("").parts]).removesuffix(".__init__")


MODULES = {name_of(path): path for path in SOURCES.rglob("*.py")}


def imports(tree: ast.AST) -> set[str]:
    """The modules of ours that run when this code does: all but those under TYPE_CHECKING."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found |= {name for child in node.orelse for name in imports(ast.Module([child], []))}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
        else:
            found |= imports(node)
    return {name for name in found if name.split(".")[0] == "nbtape"}


def test_every_module_has_its_place() -> None:
    assert MODULES.keys() - PACKAGES == RANKS.keys()


def test_imports_point_one_way() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        for other in imports(ast.parse(path.read_text())) - {"nbtape"}
        if name not in PACKAGES and RANKS[other] >= RANKS[name]
    ]
    assert wrong == []


def test_kernels_and_servers_know_only_errors_and_kernels() -> None:
    for name, path in MODULES.items():
        if name.startswith(("nbtape.kernels.", "nbtape.servers.")):
            for other in imports(ast.parse(path.read_text())):
                assert other == "nbtape.errors" or other.startswith(("nbtape.kernels", "nbtape.servers"))


def test_what_judges_outputs_knows_only_outputs() -> None:
    for name, path in MODULES.items():
        if name.startswith("nbtape.replay.compare."):
            for other in imports(ast.parse(path.read_text())):
                assert other in {"nbtape.session.kernel_messages", "nbtape.common.terminal_text"} or other.startswith(
                    "nbtape.replay.compare."
                )


def test_the_kernel_is_on_its_way_before_the_heavy_imports(tmp_path: Path) -> None:
    code = """
import sys
from nbtape import CodeBlock, JupyterCodeExecutor
from nbtape.kernels.local.manager import LocalKernelManager

start = LocalKernelManager.start_kernel

async def spy(self, **options):
    await start(self, **options)
    print(sorted({"nbclient", "nbformat", "rich"} & set(sys.modules)))

LocalKernelManager.start_kernel = spy
with JupyterCodeExecutor() as executor:
    print(executor.execute_code_blocks([CodeBlock("print(1)", "python")]).output, end="")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n1\n"
