"""Pictures of PNG, JPEG, TIFF, DICOM and NIfTI files as float values in [0, 1], never silently clipped or inverted."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
