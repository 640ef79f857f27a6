"""What an agent of smolagents says: heard from its model, and told apart from its code."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Between what an agent looks for code where it finds none of its own tags.
_FENCES: Final = ("```(?:python|py)", "\n```")


class HeardModel:
    """A model that passes everything on, and tells what it answers.

    Args:
        model: The model.
        hear: Called with the content of each message, and with what was to end it.
    """

    def __init__(self, model: Any, hear: Callable[[object, Sequence[str]], None]) -> None:  # noqa: ANN401  (a Model)
        self._model = model
        self._hear = hear
        if hasattr(model, "generate_stream"):  # agents ask whether it is there
            self.generate_stream = self._generate_stream

    @property  # type: ignore[misc]  # what an agent saves is the model that it was given
    def __class__(self) -> type:
        return type(self._model)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the model has)
        return getattr(self._model, name)

    def generate(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (smolagents.Model.generate)
        message = self._model.generate(*args, **kwargs)
        self._hear(message.content, kwargs.get("stop_sequences") or ())
        return message

    def _generate_stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401  (the same, in pieces)
        pieces = []
        for delta in self._model.generate_stream(*args, **kwargs):
            pieces.append(delta.content or "")
            yield delta
        self._hear("".join(pieces), kwargs.get("stop_sequences") or ())


def said_in(message: object, tags: tuple[str, str] | None) -> str:
    """What a message says around its code, as Markdown.

    Args:
        message: The content of the message.
        tags: Between which regular expressions its code is, as the agent has them; None if none of it is run.
    """
    if isinstance(message, list):
        message = "\n".join(str(part.get("text", "")) for part in message if isinstance(part, dict))
    if not isinstance(message, str):
        return ""
    if tags is None:
        return message.strip()
    try:  # structured outputs, as `use_structured_outputs_internally` asks for them
        thought = json.loads(message)["thought"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return _without_code(message, tags)
    return thought if isinstance(thought, str) else ""


def _without_code(message: str, tags: tuple[str, str]) -> str:
    """A message without what `parse_code_blobs` of smolagents takes as code."""
    for opening, closing in (tags, _FENCES):
        # The closing tag ends what a model generates, and is not part of it.
        said, blocks = re.subn(rf"{opening}.*?(?:{closing}|\Z)", "", message, flags=re.DOTALL)
        if blocks:
            return said.strip()
    return message.strip()
