"""MemMC-MAE: one-class anomaly detection in images by a masked autoencoder with a memory."""

from .preparation import prepare as prepare
