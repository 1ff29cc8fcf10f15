"""The program ``bento``, and ``python -m bento``."""

import gc
import sys


def main() -> None:
    """Run the command line and end the process. What is done first is for a program alone, not for the library."""
    # Imports make thousands of objects that stay; looking through them for cycles is a tenth of the start of a
    # process. It is turned on again before a verb begins its work.
    gc.disable()

    if any(word.startswith("--trace") for word in sys.argv):
        from bento.trace import recorder  # before what it is to see is imported

        recorder.begin(sys.argv[1:])

    from bento.cli.lean import import_lean

    import_lean()

    from bento.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
