"""Pictures of PNG, JPEG, TIFF, DICOM and NIfTI files as float values in [0, 1], never silently clipped or inverted."""

from .picture import Picture as Picture
from .reading import PICTURE_SUFFIXES as PICTURE_SUFFIXES
from .reading import find_pictures as find_pictures
from .reading import read_picture as read_picture
from .reading import read_pictures as read_pictures
