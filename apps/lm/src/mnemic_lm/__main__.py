"""``python -m mnemic_lm`` does what ``mnemic-lm`` does."""

from mnemic_lm.cli import main

main()
