"""A smolagents model that wraps another one and reports its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class HeardModel:
    """Wraps a model and calls `hear` with the content of each message and the stop sequences of its request."""

    def __init__(self, model: Any, hear: Callable[[object, Sequence[str]], None]) -> None:  # noqa: ANN401  (a Model)
        self._model = model
        self._hear = hear
        if hasattr(model, "generate_stream"):  # agents check for it
            self.generate_stream = self._generate_stream

    @property  # type: ignore[misc]  # saving an agent saves the class of its model
    def __class__(self) -> type:
        return type(self._model)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (any attribute of the model)
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
