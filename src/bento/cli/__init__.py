"""The command line: one verb per file, a thin user of the engine."""

import gc

# Imports make thousands of objects that stay; looking through them for cycles is a tenth of the start of a
# process. ``main`` turns it on again before the verb begins its work.
gc.disable()

from bento.cli.lean import import_lean  # noqa: E402

import_lean()
