"""The commands of ``mnemic-actions``, one module each."""
