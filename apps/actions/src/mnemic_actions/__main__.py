"""``python -m mnemic_actions`` does what ``mnemic-actions`` does."""

from mnemic_actions.cli import main

main()
