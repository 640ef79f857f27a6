"""How each peer does a work, a module for each, which runs in the environment of that peer.

A way is a generator: it yields a step, once it is ready for one, and ends what it began when it is gone on with. A step
does the work once and returns what it measured: `wall` (seconds), and whatever else can only be seen from there. What
belongs to the peer is imported inside: by the way what is not measured, by the step what is.
"""
