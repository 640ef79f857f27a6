"""What a model gets about the result of its code."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from executors import run
from PIL import Image

from nbtape import CodeResult, JupyterCodeExecutor
from nbtape.integrations._answers import answer, pictures


def of_files(*paths: Path) -> CodeResult:
    return CodeResult(0, "", list(map(str, paths)))


def picture(path: Path, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Path:
    Image.new(mode, size).save(path)
    return path


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_output_is_returned_unchanged() -> None:
    assert answer(CodeResult(0, "42\n")) == "42"


def test_missing_output_is_reported() -> None:
    assert answer(CodeResult(0, "")) == "The code ran and printed nothing."
    assert answer(CodeResult(1, "", status="not_run")) == "The code stopped with status not_run."


def test_each_file_is_listed_once() -> None:
    result = CodeResult(0, "Image data saved to /a/x.png\n", ["/a/x.png", "/a/table.csv"])
    assert answer(result) == "Image data saved to /a/x.png\nFile written: /a/table.csv"


def test_files_are_named_as_the_code_sees_them() -> None:
    files = ["/w/coding/s_1_0.png", "/w/coding/data/t.csv", "/w/coding/a", "/elsewhere/b"]
    result = CodeResult(0, "a\nImage data saved to s_1_0.png", files, notebook=Path("/w/coding/s.ipynb"))
    assert answer(result).splitlines()[2:] == [
        "File written: data/t.csv",
        "File written: a",
        "File written: /elsewhere/b",
    ]


def test_many_files_are_counted() -> None:
    told = answer(CodeResult(0, "done\n", [f"/a/{'n' * 200}{number}" for number in range(10_000)]))
    assert told.endswith("9,950 more files not named here.")
    assert len(told) < 5000


@pytest.mark.usefixtures("leaves_nothing")
def test_images_and_files_of_a_session_are_reported(output_dir: Path) -> None:
    show = "from PIL import Image\ndisplay(Image.new('RGB', (3000, 100)))\nImage.new('L', (9, 9)).save('own.png')"
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        result = run(executor, show)
        assert answer(result).splitlines() == [
            "Image data saved to session_1_0.png",
            "File written: own.png",
        ]
        shown = pictures(result)
        assert [opened(each.content).size for each in shown] == [(1024, 34), (9, 9)]


def test_images_are_png_and_limited_in_size(tmp_path: Path) -> None:
    paths = [
        picture(tmp_path / "large.jpg", (4000, 2000)),
        picture(tmp_path / "small.png"),
        picture(tmp_path / "moving.gif", mode="P"),
        picture(tmp_path / "clear.webp", (2000, 10), "RGBA"),
    ]
    found = pictures(of_files(*paths))
    assert [each.path for each in found] == paths
    assert [opened(each.content).format for each in found] == ["PNG"] * 4
    assert [opened(each.content).size for each in found] == [(1024, 512), (40, 30), (40, 30), (1024, 5)]
    assert {each.mime_type for each in found} == {"image/png"}


def test_the_last_images_are_kept_and_each_only_once(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{number}.png") for number in range(5)]
    assert [each.path for each in pictures(of_files(*paths, paths[4]), most=2)] == paths[3:]
    assert pictures(of_files(*paths), most=0) == []


def test_files_that_are_not_images_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(picture(tmp_path / "whole.png", (500, 500)).read_bytes()[:100])
    (tmp_path / "drawing.svg").write_text("<svg/>")
    (tmp_path / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    secret = picture(tmp_path / "secret.png")
    (tmp_path / "link.png").symlink_to(secret)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "directory.png").mkdir()
    names = ("text.png", "cut.png", "drawing.svg", "script.png", "link.png", "pipe.png", "directory.png", "absent.png")
    assert pictures(of_files(*(tmp_path / name for name in names))) == []


def test_an_image_that_would_fill_the_memory_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bomb = picture(tmp_path / "bomb.png")
    content = bytearray(bomb.read_bytes())
    content[16:24] = struct.pack(">II", 9000, 9000)  # the size alone is enough to reject it
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    bomb.write_bytes(content)
    with caplog.at_level("INFO", "nbtape"):
        assert pictures(of_files(bomb)) == []
    assert "9000 by 9000 pixels" in caplog.text
