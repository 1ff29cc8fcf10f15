"""``python -m bento.zygote``, which ``bento`` starts where the setting asks for it, and systemd."""

import sys

from bento.cli.lean import import_lean

if __name__ == "__main__":
    import_lean()

    from bento.zygote.process import main

    sys.exit(main(sys.argv[1:]))
