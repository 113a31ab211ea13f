"""``python -m mnemic_algorithms`` does what ``mnemic-algorithms`` does."""

from mnemic_algorithms.cli import main

main()
