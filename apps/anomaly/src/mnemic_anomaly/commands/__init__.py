"""The commands of ``mnemic-anomaly``, one module each."""
