"""The configuration file of ipykernels that nbtape starts, which keeps ZeroMQ from dropping messages.

By default, ZeroMQ queues a thousand messages for a slow client and silently drops the rest, including the end of the
cell. ipykernel has no setting for this. It cannot be changed later: a connection takes its limit from the socket when
that is bound, and changing a live socket crashes libzmq 4.3.5 if a connection is closing at that moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq
from ipykernel.kernelapp import IPKernelApp

if TYPE_CHECKING:
    from collections.abc import Callable


def _keep_all(init_iopub: Callable[[IPKernelApp, zmq.Context[zmq.Socket[bytes]]], None]) -> None:
    def init(app: IPKernelApp, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        context.setsockopt(zmq.SNDHWM, 0)  # for each socket that it makes from now on
        init_iopub(app, context)

    IPKernelApp.init_iopub = init  # type: ignore[method-assign]


_keep_all(IPKernelApp.init_iopub)
