"""The commands of ``mnemic-ask``, one module each with ``main(command, arguments)``."""
