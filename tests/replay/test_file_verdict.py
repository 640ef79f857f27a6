"""Each recorded file gets a verdict, by its digest and by the rules for outputs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from nbtape import ReplaySettings
from nbtape.common.untrusted_files import Directory
from nbtape.replay.compare.settings import Context
from nbtape.replay.file_verdict import Runs, has_digests, judge_contents, judge_files
from nbtape.replay.notebook_settings import CellRules
from nbtape.replay.report import ReplayedCell

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = Context(began=1_700_000_000.0, ended=1_700_000_060.0, utc_offset=0.0)
NEXT_DAY = Context(began=1_700_086_400.0, ended=1_700_086_460.0, utc_offset=0.0)


def image(color: str, size: int = 8, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), color).save(buffer, "PNG", **options)
    return buffer.getvalue()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2023, 11, 14 + len(content) % 2, 1, 1, 1)), content)
    return buffer.getvalue()


CORE = b"<core><dcterms:created>%s</dcterms:created></core>"

PDF = b"%%PDF-1.4\n<< /CreationDate (D:%s+00'00') >>\n\xe2\xe3 %s\n%%%%EOF\n"


@pytest.mark.parametrize(
    ("name", "old", "new", "verdict", "reason"),
    [
        ("a.csv", b"a,b\n1,2\n", b"a,b\n1,3\n", "different", "- 1,2 / + 1,3"),
        ("a.csv", b"x\n0.123456789\n", b"x\n0.123456788\n", "drift", ""),
        ("a.txt", b"a\n", b"a\nb\n", "different", "+ b"),
        ("a.txt", b"a" * 60_000 + b"\nb\n", b"a" * 60_000 + b"\nc\n", "different", "b"),
        ("a.log", b"<object at 0x7f0000000010>\n", b"<object at 0x7f0000000020>\n", "cosmetic", ""),
        ("a.log", b"2023-11-14 22:13:30\n", b"2023-11-15 22:13:30\n", "cosmetic", ""),
        ("a.json", b'{"a": 1, "b": 2}', b'{"b": 2,\n"a": 1}', "cosmetic", ""),
        ("a.json", b'{"a": 1}', b'{"a": 2}', "different", ""),
        ("a.json", b"{1", b"{2", "different", ""),
        ("a.png", image("red"), image("red", compress_level=0), "cosmetic", "same pixels"),
        ("a.png", image("red"), image("blue"), "different", "64 of 8 by 8 pixels differ"),
        ("a.png", image("red"), image("red", 9), "different", "8 by 8 became 9 by 9"),
        ("a.png", b"no image", b"nor this", "different", ""),
        ("a.pdf", PDF % (b"20231114221330", b"x"), PDF % (b"20231115221330", b"x"), "cosmetic", "times"),
        ("a.pdf", PDF % (b"20231114221330", b"x"), PDF % (b"20231115221330", b"y"), "different", ""),
        ("a.html", b"<p>one</p>", b"<p>two</p>", "different", ""),
        ("a.bin", b"\x00\x01", b"\x00\x02", "different", "not text"),
        ("a.txt", b"caf\xe9", b"caf\xe8", "different", "not text"),
        ("a.csv.gz", gzip.compress(b"1\n", mtime=1), gzip.compress(b"1\n", mtime=2), "cosmetic", "notation"),
        ("a.csv.gz", gzip.compress(b"1\n"), gzip.compress(b"2\n"), "different", "a.csv: the text differs: - 1 / + 2"),
        ("a.gz", b"\x1f\x8bdamaged", b"\x1f\x8b", "different", "not text"),
        (
            "a.xlsx",
            zipped(core=CORE % b"2023-11-14T22:13:30Z", sheet=b"<v>1</v>"),
            zipped(core=CORE % b"2023-11-15T22:13:30Z", sheet=b"<v>1</v>"),
            "cosmetic",
            "",
        ),
        ("a.xlsx", zipped(sheet=b"<v>1</v>"), zipped(sheet=b"<v>2</v>"), "different", "sheet: "),
        ("a.zip", zipped(one=b""), zipped(two=b""), "different", "only one of the archives has one"),
        ("a.zip", zipped(one=bytes(65 << 20)), zipped(one=bytes(66 << 20)), "different", "not text"),
        ("a.txt", b"a\n" * 1_100_000 + b"b", b"a\n" * 1_100_000 + b"c", "different", "line 1100001: - b / + c"),
        ("noext", b"1\n", b"2\n", "different", "- 1 / + 2"),
    ],
    # Contents have the time in them, and test processes have to agree on the names of the tests.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contents_are_compared_by_the_rules_for_outputs(
    name: str, old: bytes, new: bytes, verdict: str, reason: str
) -> None:
    found = judge_contents(name, old, new, (MINUTE, NEXT_DAY), ReplaySettings())
    assert found.verdict == verdict
    assert reason in found.reason


def test_the_path_of_the_copy_counts_as_that_of_the_original() -> None:
    old = Context(directory="/home/me/coding")
    new = Context(
        directory="/home/me/coding",
        moved=(("/home/me/.nbtape-copy-1", "/home/me/coding"), (".nbtape-copy-1", "coding")),
    )
    here, there = b"/home/me/coding/a.csv in coding\n", b"/home/me/.nbtape-copy-1/a.csv in .nbtape-copy-1\n"
    assert judge_contents("a.txt", here, there, (old, new), ReplaySettings()).verdict == "cosmetic"
    elsewhere = here.replace(b"me", b"you")
    assert judge_contents("a.txt", here, elsewhere, (old, new), ReplaySettings()).verdict == "different"


class Case:
    """Two runs of a notebook with one cell, and the directories with their files."""

    def __init__(self, tmp_path: Path) -> None:
        self.old, self.new = tmp_path / "old", tmp_path / "new"
        self.old.mkdir()
        self.new.mkdir()
        self.listed: tuple[list[Any], list[Any]] = ([], [])
        self.status = "ok"
        self.outputs: tuple[list[Any], list[Any]] = ([], [])
        self.extracted: list[Any] = []

    def write(self, name: str, old: bytes | None, new: bytes | None) -> None:
        for directory, content, listed in zip((self.old, self.new), (old, new), self.listed, strict=True):
            if content is not None:
                (directory / name).write_bytes(content)
                digest = hashlib.sha256(content).hexdigest()
                listed.append({"path": name, "size": len(content), "sha256": digest})

    def judge(self, *, in_place: bool = False, cell_verdict: Any = "same") -> list[tuple[str, str]]:
        notebooks = []
        for files, outputs in zip(self.listed, self.outputs, strict=True):
            ours = {"status": self.status, "files": files, "extracted": self.extracted}
            cell = new_code_cell("1", id="one", outputs=outputs, metadata={"nbtape": ours})
            notebooks.append(new_notebook(cells=[cell], metadata={"nbtape": {"version": 1}}))
        cell = ReplayedCell(0, "one", cell_verdict, "ok", "ok", "why", block=1)
        runs = Runs(notebooks[0], notebooks[1], (MINUTE, NEXT_DAY), {0: CellRules(ReplaySettings())}, [cell])
        with Directory(self.old) as old, Directory(self.new) as new:
            self.files = judge_files(runs, None if in_place else old, new)
        return [(file.verdict, file.reason) for file in self.files]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_equal_files_are_the_same(case: Case) -> None:
    case.write("a.csv", b"1\n", b"1\n")
    assert case.judge() == [("same", "")]
    assert (case.files[0].path, case.files[0].block, case.files[0].size) == ("a.csv", 1, 2)
    assert case.files[0].sha256 == case.files[0].replayed_sha256


def test_a_difference_names_the_sizes_and_the_first_line_that_differs(case: Case) -> None:
    case.write("a.csv", b"a\n1\n", b"a\n22\n")
    assert case.judge() == [("different", "4 bytes became 5. The text differs: - 1 / + 22")]


def test_a_file_that_the_replay_does_not_write_is_missing(case: Case) -> None:
    case.write("a.csv", b"1\n", None)
    assert case.judge() == [("missing", "The replay did not write it.")]
    assert not case.files[0].is_as_recorded


def test_a_file_that_was_there_and_is_not_written_again_is_said_to_be(case: Case) -> None:
    case.write("a.csv", b"1\n", None)
    (case.new / "a.csv").write_bytes(b"1\n")
    assert case.judge() == [("same", "The replay did not write it again.")]
    (case.new / "a.csv").write_bytes(b"2\n")
    assert case.judge()[0][0] == "different"


def test_a_file_that_both_runs_deleted_is_compared_by_its_digest(case: Case) -> None:
    case.write("a.csv", b"1\n", b"1\n")
    (case.old / "a.csv").unlink()
    (case.new / "a.csv").unlink()
    assert case.judge() == [("same", "")]


@pytest.mark.parametrize("in_place", [True, False])
def test_without_the_recorded_content_digests_decide(case: Case, *, in_place: bool) -> None:
    case.write("a.png", image("red"), image("red", compress_level=0))
    (case.old / "a.png").write_bytes(b"replaced")
    [(verdict, reason)] = case.judge(in_place=in_place)
    assert verdict == "different"
    assert "The recorded content cannot be compared" in reason


def test_files_of_a_stopped_block_are_not_compared(case: Case) -> None:
    case.status = "timeout"
    case.write("a.log", b"1\n", b"1\n2\n")
    case.write("b.log", b"1\n", None)
    assert [verdict for verdict, _ in case.judge()] == ["not_compared", "not_compared"]


def test_a_file_without_a_digest_is_compared_by_its_size(case: Case) -> None:
    case.write("a", b"12", b"34")
    case.write("b", b"12", b"3")
    for file in case.listed[0]:
        file["sha256"] = None
    assert [verdict for verdict, _ in case.judge()] == ["not_compared", "different"]


def test_the_last_version_of_a_file_counts(case: Case) -> None:
    case.write("a", b"first", b"other")
    case.write("a", b"last", b"last")
    assert case.judge() == [("same", "")]


@pytest.mark.parametrize(
    "files",
    [
        "no",
        [1, {"path": 1, "size": 1}, {"path": "a", "size": "1"}, {"size": 1}],
        [
            {"path": path, "size": 1, "sha256": "x"}
            for path in ("../a", "/etc/passwd", "", ".", "a//b", "a\0", "a/../b")
        ],
    ],
)
def test_invalid_metadata_is_ignored(case: Case, files: Any) -> None:
    case.listed = (files, [])
    assert case.judge() == []


def test_links_in_either_directory_are_not_followed(case: Case, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"1\n")
    case.write("a", b"1\n", None)
    (case.new / "a").symlink_to(tmp_path / "secret")
    [(verdict, _)] = case.judge()
    assert verdict in {"different", "not_compared"}
    assert case.files[0].replayed_sha256 is None


def test_an_extracted_file_is_judged_by_its_output(case: Case) -> None:
    def shown(content: bytes) -> Any:
        return new_output("display_data", {"image/png": base64.b64encode(content).decode()})

    case.extracted = [{"path": "session_1_0.png", "output": 0, "mime_type": "image/png"}]
    case.outputs = ([shown(image("red"))], [shown(image("red", compress_level=0))])
    assert case.judge()[0][0] == "cosmetic"
    case.outputs = ([shown(image("red"))], [shown(image("blue"))])
    assert case.judge()[0][0] == "different"
    assert case.judge(cell_verdict="ignored") == [("ignored", "why")]
    case.outputs = ([shown(image("red"))], [])
    assert case.judge()[0][0] == "missing"
    assert case.files[0].is_extracted


def test_only_notebooks_that_nbtape_recorded_have_digests() -> None:
    assert has_digests(new_notebook(metadata={"nbtape": {"version": 1}}))
    assert not has_digests(new_notebook())
