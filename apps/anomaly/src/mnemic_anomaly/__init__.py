"""Find anomalies in medical images: training, evaluation and pages of results."""
