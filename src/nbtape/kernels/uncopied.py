"""Objects that own processes, threads and connections are shared, never copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbtape.errors import NotCopyableError

if TYPE_CHECKING:
    from typing import NoReturn, SupportsIndex


class Uncopied:
    """Something that `copy`, `deepcopy` and `pickle` refuse with a sentence."""

    __slots__ = ()

    def __reduce_ex__(self, _: SupportsIndex) -> NoReturn:
        raise NotCopyableError(type(self).__name__)
