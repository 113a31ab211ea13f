"""``python -m mnemic_track`` does what ``mnemic-track`` does."""

from mnemic_track.cli import main

main()
