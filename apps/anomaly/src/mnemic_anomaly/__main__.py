"""``python -m mnemic_anomaly`` does what ``mnemic-anomaly`` does."""

from mnemic_anomaly.cli import main

main()
