"""How each peer does the work: one module per peer, which runs in the environment of that peer.

A way is a generator: it yields a step once it is ready for one, and cleans up when it is resumed. A step does the work
once and returns its measurements: `wall` (seconds), and whatever only the step can measure. Imports of the peer are
inside the functions: those that are not measured in the way, those that are measured in the step.
"""
