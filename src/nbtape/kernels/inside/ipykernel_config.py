"""What ipykernels that nbtape starts read beside their own configuration: nothing that they send is dropped.

By itself ipykernel keeps a thousand messages for a client that is slow, or has no processor for a moment, and drops
what follows without a word, the end of the cell included. It has no setting for that, and later than this it is not to
be told: connections that are made have their mark from the socket as it was when it was bound, and to change it on
them crashes libzmq 4.3.5 if one of them is ending just then.
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
