"""Executors, servers and pools are shared, never copied."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest

from nbtape import (
    AsyncJupyterCodeExecutor,
    DockerJupyterServer,
    JupyterCodeExecutor,
    KernelPool,
    LocalJupyterServer,
    NotCopyableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "kind", [AsyncJupyterCodeExecutor, DockerJupyterServer, JupyterCodeExecutor, KernelPool, LocalJupyterServer]
)
@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_is_refused_in_one_sentence(kind: type, act: Callable[[object], object]) -> None:
    with pytest.raises(NotCopyableError, match=rf"^{kind.__name__} cannot be copied or pickled\. Share the object"):
        act(kind())
