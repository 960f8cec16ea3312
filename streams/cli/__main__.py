"""``python -m streams.cli``: the same as ``leadstream``."""

from streams.cli import main

main()
