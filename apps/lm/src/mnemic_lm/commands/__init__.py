"""One module for each command; the training commands are in ``train``."""
