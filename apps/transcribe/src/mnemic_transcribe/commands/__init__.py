"""The commands of ``mnemic-transcribe``, one module each with ``main(command, arguments)``."""
