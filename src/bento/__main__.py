"""``python -m bento``."""

from bento.cli.main import main

if __name__ == "__main__":
    main()
