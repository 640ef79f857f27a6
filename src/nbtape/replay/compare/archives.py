"""Unpack archives whose bytes have times in them: ZIP files, such as Excel's and NumPy's, and gzip files."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Maximum size of what an archive has, and number of its files. A larger archive is not unpacked.
_MAX_BYTES: Final = 64 << 20
_MAX_FILES: Final = 1000

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"


def unpacked(name: str, content: bytes) -> Mapping[str, bytes] | None:
    """The files in an archive by name, without their times; None if it is not an archive, is damaged or too large.

    A gzip file has one, whose name is `name` without the suffix.
    """
    try:
        if content.startswith(_GZIP):
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                text = file.read(_MAX_BYTES + 1)
            return {name.removesuffix(".gz"): text} if len(text) <= _MAX_BYTES else None
        return _files(content) if content.startswith(_ZIP) else None
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None


def _files(content: bytes) -> dict[str, bytes] | None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        listed = archive.infolist()
        # A file cannot be read beyond the size that is listed.
        if len(listed) > _MAX_FILES or sum(each.file_size for each in listed) > _MAX_BYTES:
            return None
        found = {each.filename: archive.read(each) for each in listed}
        return found if len(found) == len(listed) else None
