"""Finalizers of forgotten objects run once, and only in the process that owns them."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from nbtape.common.finalizers import when_forgotten

SCRIPT = """
import os, sys
from nbtape.common.finalizers import when_forgotten

class Thing: pass

thing = Thing()
act = when_forgotten(thing, os.write, 1, b"done")
child = os.fork()
if not child:
    {end}
    sys.exit()
os.waitpid(child, 0)
"""


class Thing:
    """An object without references."""


def test_the_finalizer_of_a_forgotten_object_runs_once() -> None:
    done: list[str] = []
    thing = Thing()
    act = when_forgotten(thing, done.append, "done")
    del thing
    gc.collect()
    act()
    assert done == ["done"]


@pytest.mark.parametrize("end", ["pass", "del thing", "act()"], ids=["exits", "forgets", "acts"])
def test_the_finalizer_runs_in_its_owner_and_never_in_a_fork(end: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(end=end)], capture_output=True, text=True, check=True)
    assert done.stdout == "done"
