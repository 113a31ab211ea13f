"""Images with labels and masks: layouts of data sets, generated textures, pasted lesions, augmentation, duplicates."""

from .augment import ImageAugmentation as ImageAugmentation
from .blob import Blob as Blob
from .duplicates import Duplicate as Duplicate
from .duplicates import find_duplicates as find_duplicates
from .duplicates import without_leaks as without_leaks
from .generated import GeneratedTextures as GeneratedTextures
from .layouts import Layout as Layout
from .layouts import find_layout as find_layout
from .layouts import open_images as open_images
from .lesions import Lesion as Lesion
from .lesions import LesionSettings as LesionSettings
from .lesions import paste_lesion as paste_lesion
from .lesions import with_lesions as with_lesions
from .listing import Splits as Splits
from .sample import ImageSample as ImageSample
from .sample import Split as Split
from .sample import training_normals as training_normals
from .writing import write_mvtec as write_mvtec
