"""EMAT: training, evaluation and use of a memory of questions and answers."""
