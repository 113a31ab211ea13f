"""Images with labels and masks: layouts of data sets, generated textures, pasted lesions, augmentation, duplicates."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
