"""Compare the recorded and the replayed outputs of a cell."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from nbtape.common.image_types import PILLOW_FORMATS, SVG
from nbtape.errors import MissingExtraError
from nbtape.replay.compare.html_svg import compare_html, compare_svg
from nbtape.replay.compare.images import compare_images
from nbtape.replay.compare.json_values import compare_structures
from nbtape.replay.compare.patterns import PatternsError
from nbtape.replay.compare.pdf import PDF, compare_pdfs
from nbtape.replay.compare.printed_text import collapse_stream, compare_texts
from nbtape.replay.compare.settings import SAME, Judgement, ReplaySettings, Terms, cut, matches, shown, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nbtape.replay.compare.settings import Context

Output = dict[str, Any]

_JSON: Final = re.compile(r"application/(?:[\w.+-]*\+)?json\b")
_HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})
_MARKUP_TYPES: Final = frozenset({SVG, *_HTML_TYPES})
_CODE_TYPES: Final = frozenset({"application/javascript", "text/javascript"})


class _Outputs(NamedTuple):
    """The outputs of a cell by kind. Each stream is one text, because the order of two streams varies."""

    streams: dict[str, str]
    bundles: list[Output]
    error: Output | None


def check_packages(outputs: Iterable[Mapping[str, Any]]) -> None:
    """Raise MissingExtraError if comparing these outputs may need a package that is not installed.

    An output whose type differs from the recorded one is different, and needs no package.
    """
    mimes = {mime for output in outputs for mime in _bundle(output)}
    if mimes & PILLOW_FORMATS.keys():
        MissingExtraError.check("Comparing images", "replay", PIL="pillow")
    if mimes & _MARKUP_TYPES:
        MissingExtraError.check("Comparing HTML and SVG", "replay", lxml="lxml")


def is_json(mime: str) -> bool:
    """Whether a MIME type is one of JSON."""
    return _JSON.match(mime) is not None


def judge(
    recorded_outputs: Sequence[Mapping[str, Any]],
    replayed_outputs: Sequence[Mapping[str, Any]],
    recorded_context: Context,
    replayed_context: Context,
    settings: ReplaySettings | None = None,
) -> Judgement:
    """Compare the outputs of a cell in nbformat's format. Never raises, whatever a kernel has sent."""
    terms = Terms(recorded_context, replayed_context, settings or ReplaySettings())
    try:
        return _judge(_gather(recorded_outputs), _gather(replayed_outputs), terms)
    except PatternsError as exc:
        return Judgement("different", str(exc))
    finally:
        terms.patterns.close()


def _judge(old: _Outputs, new: _Outputs, terms: Terms) -> Judgement:
    if old.error is None and new.error is not None:
        return Judgement("error", f"it failed now: {_error_line(new.error)}")
    if old.error is not None and new.error is None:
        return Judgement("fixed", f"it failed when recorded: {_error_line(old.error)}")
    judgement = worst(_differences(old, new, terms))
    if new.error is not None and matches(judgement):
        return Judgement("same_error", f"it failed both times: {_error_line(new.error)}")
    return judgement


def _gather(outputs: Sequence[Mapping[str, Any]]) -> _Outputs:
    chunks: dict[str, list[str]] = {}
    bundles: list[Output] = []
    error: Output | None = None
    for output in outputs:
        kind = output.get("output_type") if isinstance(output, dict) else None
        if kind == "stream":
            chunks.setdefault(str(output.get("name", "")), []).append(_joined(output.get("text", "")))
        elif kind == "error":
            error = dict(output)
        else:
            bundles.append(_bundle(output))
    streams = {name: text for name, texts in chunks.items() if (text := collapse_stream("".join(texts)))}
    return _Outputs(streams, bundles, error)


def _bundle(output: object) -> Output:
    """The MIME bundle of an output; an invalid output counts as JSON."""
    if isinstance(output, dict) and isinstance(data := output.get("data"), dict):
        return {str(mime): value for mime, value in data.items()}
    return {"application/json": output}


def _error_line(error: Output) -> str:
    return cut(f"{error.get('ename', '')}: {error.get('evalue', '')}")


def _differences(old: _Outputs, new: _Outputs, terms: Terms) -> Iterator[Judgement]:
    """Compare all parts lazily, stopping at the first that is different."""
    if old.error is not None and new.error is not None:
        yield _compare_errors(old.error, new.error, terms)
    for name in sorted(old.streams.keys() | new.streams.keys()):
        yield _compare_streams(name, old.streams.get(name, ""), new.streams.get(name, ""), terms)
    if len(old.bundles) != len(new.bundles):
        yield Judgement("different", f"{len(old.bundles)} displays became {len(new.bundles)}")
    for left, right in zip(old.bundles, new.bundles, strict=False):
        if left.keys() != right.keys():
            yield Judgement("different", shown("the MIME types of a display differ", sorted(left), sorted(right)))
        for mime in sorted(left.keys() & right.keys()):
            yield _compare_values(mime, left[mime], right[mime], terms)


def _compare_errors(old: Output, new: Output, terms: Terms) -> Judgement:
    """Compare two errors without their tracebacks."""
    if old.get("ename") != new.get("ename"):
        return Judgement("different", shown("it failed differently", _error_line(old), _error_line(new)))
    return compare_texts(_joined(old.get("evalue", "")), _joined(new.get("evalue", "")), terms)


def _compare_streams(name: str, old: str, new: str, terms: Terms) -> Judgement:
    judgement = compare_texts(old, new, terms)
    if judgement.verdict == "different" and not (old and new):
        return Judgement("different", shown(f"{cut(name)} {'is new' if new else 'is missing'}", old, new))
    return judgement


def _compare_values(mime: str, old: object, new: object, terms: Terms) -> Judgement:
    if is_json(mime):
        return compare_structures(old, new, terms)
    left, right = _joined(old), _joined(new)
    if mime in PILLOW_FORMATS:
        return compare_images(left, right, terms)
    if mime == PDF:
        return compare_pdfs(left, right, terms)
    if mime == SVG:
        return compare_svg(left, right, terms)
    if mime in _HTML_TYPES:
        return compare_html(left, right, terms)
    if mime.startswith(("text/", "application/javascript")):
        return compare_texts(left, right, terms, is_code=mime in _CODE_TYPES)
    return SAME if left == right else Judgement("different", f"the bytes of {cut(mime)} differ")


def _joined(value: object) -> str:
    """Join a text of nbformat, which is a string or a list of lines; format anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    try:
        return json.dumps(value, sort_keys=True, default=str)
    except (RecursionError, TypeError, ValueError):
        return repr(type(value))
