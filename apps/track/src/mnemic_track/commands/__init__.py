"""The commands of ``mnemic-track``, one module each with ``main(command, arguments)``."""
