"""The private copy of a directory in which a replay runs, so that recorded files stay as recorded."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.tree_copy import COPY_PREFIX, CanceledError, TooLargeError, copy, plan
from nbtape.common.untrusted_files import Directory
from nbtape.errors import BlockInterrupted, DirectoryCopyError
from nbtape.kernels.remote.jupyter_server import JupyterServer
from nbtape.kernels.sources import checked_source
from nbtape.kernels.start import make_directory
from nbtape.notebook.atomic_write import is_draft
from nbtape.notebook.format import own_metadata
from nbtape.notebook.journal import is_journal
from nbtape.notebook.numbering import code_cells
from nbtape.replay.publish import is_replay

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from nbtape.common.tree_copy import Parts, Plan
    from nbtape.kernels.sources import Server

logger = logging.getLogger(__name__)

_TOKEN_BYTES: Final = 4

#: Maximum number of links that a report names.
_MAX_LINKS_SHOWN: Final = 5


class Stop:
    """Stops a replay, in whichever phase it is; may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._then: Callable[[], None] | None = None

    def __call__(self) -> None:
        with self._lock:
            self._is_set, then = True, self._then
        if then is not None:
            then()

    def is_set(self) -> bool:
        return self._is_set

    def pass_to(self, then: Callable[[], None]) -> None:
        """Call `then` when this is called; at once if it was."""
        with self._lock:
            self._then, is_set = then, self._is_set
        if is_set:
            then()


@dataclass(frozen=True, slots=True)
class Workplace:
    """The directory in which the code runs.

    Args:
        path: The directory.
        original: The directory of which it is a copy; the same one without a copy.
        moved: Parts of paths that stand for a part of the original's path in outputs, each with that.
        notes: Sentences for the report.
    """

    path: Path
    original: Path
    moved: tuple[tuple[str, str], ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def is_copy(self) -> bool:
        return self.path != self.original


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a copy does not have, by paths below the directory.

    Args:
        files: These files.
        directories: These directories, if nothing else is in them.
        replays: The directory and the stem of the notebook, whose replays are left out.
    """

    files: Collection[Parts] = ()
    directories: Collection[Parts] = ()
    replays: tuple[Parts, str] = ((), "")

    def __call__(self, path: Parts) -> bool:
        directory, stem = self.replays
        if path[:-1] == directory and stem and is_replay(path[-1], stem):
            return True
        return path in self.files or is_draft(path[-1]) or is_journal(path[-1])


def left_out(
    recorded: Mapping[str, Any], runs: Collection[int], notebook: Path, output: Path | None, directory: Path
) -> LeftOut:
    """What a copy of `directory` for a replay of `notebook` lacks: earlier replays, and what its code will create.

    `runs` has the positions of the cells that are run.
    """
    below = Path(os.path.relpath(notebook.parent, directory))
    files: set[Path] = set() if output is None else {Path(os.path.relpath(output, directory))}
    directories: set[Path] = set()
    known: set[str] = set()
    for index, _, cell in code_cells(recorded["cells"]):
        if index not in runs:
            continue
        ours = own_metadata(cell)
        created = {each for each in _texts(ours.get("created")) if _is_below(each)}
        for path in (file["path"] for file in listed_files(ours)):
            if path not in known and not created.isdisjoint([path, *map(str, PurePosixPath(path).parents)]):
                files.add(below / path)
            known.add(path)
        directories |= {below / each for each in created}
    return LeftOut({each.parts for each in files}, {each.parts for each in directories}, (below.parts, notebook.stem))


def listed_files(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The files that a cell wrote, by its metadata, which anyone can have written; each has a usable path."""
    listed = metadata.get("files")
    for file in listed if isinstance(listed, list) else []:
        if isinstance(file, dict) and isinstance(path := file.get("path"), str) and _is_below(path):
            yield file


def _is_below(path: str) -> bool:
    """Whether a recorded path is that of a file below its directory."""
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and "\0" not in path and path == "/".join(parts)


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


@contextlib.contextmanager
def workplace(
    directory: Path,
    without: LeftOut,
    can_work_in: Callable[[Path], bool],
    *,
    in_place: bool,
    stop: Stop,
    on_copy: Callable[[int, int], None] | None,
) -> Iterator[Workplace]:
    """Provide the directory for a replay: a private copy, which is removed afterwards, or `directory` itself.

    `can_work_in` is whether the kernels can work in a directory, which may be missing.

    Raises:
        DirectoryCopyError: It is too large, or cannot be copied.
        OutputDirectoryError: It is missing and cannot be made.
        BlockInterrupted: `stop` was called.
    """
    make_directory(directory)
    if not can_work_in(directory):
        note = "The files are on the machine of the server: they were not copied, and the code may have changed them."
        yield Workplace(directory, directory, notes=[note])
        return
    if in_place:
        yield Workplace(directory, directory)
        return
    with contextlib.ExitStack() as stack:
        try:
            with Directory(directory.resolve(strict=True)) as source:
                planned = plan(source, without, without.directories, is_canceled=stop.is_set)
                place = stack.enter_context(_place(source, can_work_in))
                with Directory(place.path) as target:
                    copy(source, target, planned, on_copy or (lambda _done, _total: None), stop.is_set)
        except CanceledError:
            raise BlockInterrupted from None
        except TooLargeError as exc:
            advice = "Remove what the code does not need, or replay in the directory itself with in_place=True."
            raise DirectoryCopyError(directory, f"it {exc}. {advice}") from exc
        except OSError as exc:
            advice = "Free space or correct the permissions, or replay in the directory itself with in_place=True."
            raise DirectoryCopyError(directory, f"{exc.strerror or exc}. {advice}") from exc
        place.notes.extend(_notes(planned))
        yield place


def can_work_in(server: Server, kernel_name: str, directory: Path) -> bool:
    """Whether kernels of a server can work in a directory, which may be missing."""
    if isinstance(server, JupyterServer) and not server.can_access(directory):
        return False
    try:
        return checked_source(server, kernel_name, None, directory).can_access(directory)
    except ValueError:
        return False


@contextlib.contextmanager
def _place(source: Directory, is_suitable: Callable[[Path], bool]) -> Iterator[Workplace]:
    """Make an empty private directory for a copy, and remove it afterwards.

    It is next to the original, so that `..` leads to the same directory. If that is not possible, it is in the
    directory for temporary files, or else in the original.
    """
    path = source.path
    source.refresh()
    status = path.stat()
    # Others can use it only if they could change the original.
    mode = stat.S_IMODE(status.st_mode) & 0o777 if status.st_mode & stat.S_IWOTH else stat.S_IRWXU
    error: OSError | None = None
    for parent, is_wrapped in ((path.parent, False), (Path(tempfile.gettempdir()).resolve(), True), (path, False)):
        name = _new_name(path.name)
        made = parent / name / path.name if is_wrapped else parent / name
        if parent == made or not is_suitable(made):
            continue
        with Directory(parent) as opened:
            try:
                opened.make_new(name, 0o700)
            except OSError as exc:
                error = error or exc
                continue
            try:
                if is_wrapped:
                    with opened.below(name) as wrapper:
                        wrapper.make_new(path.name, 0o700)
                with opened.below(*made.relative_to(parent).parts) as directory:
                    directory.take_over(status, mode)
                moved = [(str(parent / name), str(path.parent))] if is_wrapped else [(str(made), str(path))]
                moved += [] if is_wrapped else [(name, path.name)]
                yield Workplace(made, path, tuple(moved))
            finally:
                _remove(opened, name)
        return
    raise error or OSError("the kernels can work only in this directory")


def _new_name(original: str) -> str:
    """A random name, which is as long as the original's if possible: that may determine where lines are wrapped."""
    token = secrets.token_hex(max(_TOKEN_BYTES, len(original)))
    return COPY_PREFIX + token[: max(2 * _TOKEN_BYTES, len(original) - len(COPY_PREFIX))]


def _remove(parent: Directory, name: str) -> None:
    try:
        parent.remove_tree(name)
    except OSError as exc:
        logger.warning("The copy %s could not be removed (%s). Delete it.", parent.path / name, exc.strerror or exc)


def _notes(planned: Plan) -> Iterator[str]:
    if planned.outside:
        names = sorted("/".join(path) for path in planned.outside)
        rest = f" and {len(names) - _MAX_LINKS_SHOWN} more" if len(names) > _MAX_LINKS_SHOWN else ""
        yield (
            "Links that lead out of the directory were not copied: "
            f"{', '.join(names[:_MAX_LINKS_SHOWN])}{rest}. If the code needs them, replay with in_place=True."
        )
