"""``python -m mnemic_transcribe`` does what ``mnemic-transcribe`` does."""

from mnemic_transcribe.cli import main

main()
