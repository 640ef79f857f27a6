"""What nobody ended is seen to, once, and by nobody but its owner."""

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
    """What is forgotten."""


def test_what_is_forgotten_is_seen_to_once() -> None:
    done: list[str] = []
    thing = Thing()
    act = when_forgotten(thing, done.append, "done")
    del thing
    gc.collect()
    act()
    assert done == ["done"]


@pytest.mark.parametrize("end", ["pass", "del thing", "act()"], ids=["exits", "forgets", "acts"])
def test_its_owner_sees_to_it_at_exit_and_a_fork_never_does(end: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(end=end)], capture_output=True, text=True, check=True)
    assert done.stdout == "done"
