"""The commands, one module each; those of training are all in ``train``."""
