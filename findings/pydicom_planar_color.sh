#!/bin/sh
# pydicom mixes up the colors of compressed files that are tagged as stored plane by plane.
#
# Guess:  Dataset.compress() without loss keeps every pixel, whether the planes are interleaved (PlanarConfiguration 0) or
#         follow each other (1). In compressed files the tag says nothing, since the codestream says how it is stored;
#         pydicom's reshape_pixel_array documents that it takes it as 0 for JPEG and JPEG 2000.
# Seen:   pydicom 3.0.2, no warnings: with tag 1, compress(RLELossless) encodes another picture; so does
#         compress(JPEG2000Lossless), by Pillow's decoder, while pixel_array makes the same mistake back. A JPEG or
#         JPEG 2000 codestream of the right picture under tag 1 reads as another picture.
# So:     interleave before compressing, and set PlanarConfiguration = 0 in a compressed data set before reading pixels.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q pydicom==3.0.2 pylibjpeg==2.1.0 pylibjpeg-libjpeg==2.5.0 pylibjpeg-openjpeg==2.6.0 pillow==12.3.0 numpy==2.4.6
cat > "$work/planar.py" <<'PYTHON'
import io

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless, SecondaryCaptureImageStorage, generate_uid
)

picture = np.kron(np.random.default_rng(0).integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def dataset(planar):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    made.Rows, made.Columns, made.SamplesPerPixel, made.PhotometricInterpretation = 64, 64, 3, "RGB"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PlanarConfiguration = planar
    made.PixelData = (picture.transpose(2, 0, 1) if planar else picture).tobytes()
    made["PixelData"].VR = "OW"
    assert np.array_equal(made.pixel_array, picture)
    return made


def tagged(syntax, planar, kind, **options):
    """Return the data set of a codestream that Pillow wrote, and what Pillow reads from it."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, **options)
    made = dataset(0)
    made.file_meta.TransferSyntaxUID, made.PhotometricInterpretation = syntax, kind
    made.PixelData, made.PlanarConfiguration = encapsulate([file.getvalue()]), planar
    return made, np.asarray(Image.open(file))


def kept(read, expected=picture):
    return (read == expected).all(2).mean()


print(f"pydicom {pydicom.__version__}, share of pixels kept with PlanarConfiguration 0 and 1")
shares = {}
for planar in (0, 1):
    rle, wavelets = dataset(planar), dataset(planar)
    rle.compress(RLELossless)
    wavelets.compress(JPEG2000Lossless)
    shares["RLE written and read", planar] = kept(rle.pixel_array)
    shares["JPEG 2000 written and read", planar] = kept(wavelets.pixel_array)
    codestream = io.BytesIO(get_frame(wavelets.PixelData, 0, number_of_frames=1))
    shares["JPEG 2000 written, read by Pillow", planar] = kept(np.asarray(Image.open(codestream)))
    jpeg, expected = tagged(JPEGBaseline8Bit, planar, "YBR_FULL", format="JPEG", subsampling=0)
    shares["JPEG of Pillow", planar] = kept(jpeg.pixel_array, expected)
    jpeg2000, _ = tagged(JPEG2000Lossless, planar, "YBR_RCT", format="JPEG2000", no_jp2=True)
    shares["JPEG 2000 of Pillow", planar] = kept(jpeg2000.pixel_array)
for name in dict.fromkeys(name for name, _ in shares):
    print(f"{name}: {shares[name, 0]:.3f} {shares[name, 1]:.3f}")
assert all(shares[name, 0] == 1 for name, _ in shares)
assert shares.pop(("JPEG 2000 written and read", 1)) == 1
assert all(share < 0.1 for (_, planar), share in shares.items() if planar)
PYTHON
cd "$work" && venv/bin/python planar.py
