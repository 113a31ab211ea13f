"""Training and evaluation of MuRAG."""
