"""Find actions in running videos and feature streams: training, evaluation and pictures."""
