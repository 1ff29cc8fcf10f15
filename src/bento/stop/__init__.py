"""The heart: what a stop does next, as a pure function of what was seen and when.

Nothing here reads a clock, a file or a process. ``machine.step`` takes a state, an input and
the monotonic time, and returns the next state and the actions to carry out. The engine carries
them out and feeds back what it observed. Start with ``states``, then ``machine``.
"""
