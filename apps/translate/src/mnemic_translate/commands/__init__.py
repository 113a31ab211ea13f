"""The commands of ``mnemic-translate``, one module each with ``main(command, arguments)``."""
