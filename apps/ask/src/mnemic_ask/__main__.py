"""``python -m mnemic_ask`` does what ``mnemic-ask`` does."""

from mnemic_ask.cli import main

main()
