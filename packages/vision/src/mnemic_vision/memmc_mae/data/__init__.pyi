"""Images with labels and masks: layouts of data sets, generated textures, pasted lesions, augmentation, duplicates."""

from .blob import Blob as Blob
from .generated import GeneratedTextures as GeneratedTextures
from .lesions import Lesion as Lesion
from .lesions import LesionSettings as LesionSettings
from .lesions import paste_lesion as paste_lesion
from .lesions import with_lesions as with_lesions
from .sample import ImageSample as ImageSample
from .sample import Split as Split
from .sample import training_normals as training_normals
