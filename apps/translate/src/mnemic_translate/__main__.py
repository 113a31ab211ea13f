"""``python -m mnemic_translate`` does what ``mnemic-transcribe`` does."""

from mnemic_translate.cli import main

main()
