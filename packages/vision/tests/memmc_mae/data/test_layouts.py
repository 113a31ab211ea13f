import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data import GeneratedTextures, ImageSample, Splits, find_layout, open_images

Write = Callable[..., Path]
SHARED = Path(__file__).parents[6] / "shared/data"


def summary(samples: Iterable[ImageSample]) -> dict[str, tuple[str, int | None, str]]:
    return {sample.name: (sample.split, sample.label, sample.group) for sample in samples}


def mask_of(sample: ImageSample) -> torch.Tensor:
    mask = sample.load_mask()
    assert mask is not None
    return mask


def test_normal_and_anomalous_below_parts(tmp_path: Path, write_image: Write) -> None:
    for name in ("train/normal/a.png", "val/normal/b.png", "test/Normal/c.png", "test/anomalous/d.png"):
        write_image(name)
    assert find_layout(tmp_path) == "folders"
    samples = open_images("auto", tmp_path)
    assert summary(samples) == {
        "train/normal/a.png": ("train", 0, ""),
        "val/normal/b.png": ("val", 0, ""),
        "test/Normal/c.png": ("test", 0, ""),
        "test/anomalous/d.png": ("test", 1, ""),
    }
    assert [sample.load_mask() for sample in samples] == [None] * 4
    stored = np.asarray(Image.open(tmp_path / "train/normal/a.png")) / np.float32(255)
    assert_close(next(s for s in samples if s.split == "train").load(), torch.from_numpy(stored)[None])


@pytest.mark.parametrize(("good", "bad"), [("good", "bad"), ("NORMAL", "PNEUMONIA"), ("healthy", "abnormal")])
def test_folders_without_parts_are_divided(tmp_path: Path, write_image: Write, good: str, bad: str) -> None:
    for number in range(20):
        write_image(f"{good}/{number}.png")
        write_image(f"{bad}/{number}.png")
    samples = open_images("auto", tmp_path, Splits(val=0.2, test=0.3))
    assert Counter((s.split, s.label) for s in samples) == {
        ("train", 0): 10,
        ("val", 0): 4,
        ("test", 0): 6,
        ("val", 1): 8,
        ("test", 1): 12,
    }
    assert {s.group for s in samples} == {"", "pneumonia" if bad == "PNEUMONIA" else ""}
    assert summary(open_images("auto", tmp_path, Splits(val=0.2, test=0.3))) == summary(samples)
    assert summary(open_images("auto", tmp_path, Splits(val=0.2, test=0.3, seed=1))) != summary(samples)


def test_a_set_without_validation_gets_it_from_the_normal_images_of_training(
    tmp_path: Path, write_image: Write
) -> None:
    for number in range(10):
        write_image(f"train/good/{number}.png")
    write_image("test/good/a.png")
    write_image("test/crack/a.png")
    samples = open_images("auto", tmp_path, Splits(val=0.2))
    assert Counter((s.split, s.label) for s in samples) == {
        ("train", 0): 8,
        ("val", 0): 2,
        ("test", 0): 1,
        ("test", 1): 1,
    }


def test_a_written_generated_set_is_read_back_with_parts_groups_and_masks(tmp_path: Path) -> None:
    made = GeneratedTextures(num_train=3, num_val=4, num_test=8)
    made.write(tmp_path / "set")
    read = {sample.name: sample for sample in open_images("auto", tmp_path / "set")}
    assert summary(read.values()) == summary(made.open())
    for sample in made.open():
        assert_close(read[sample.name].load(), sample.load(), atol=0.5 / 255 + 1e-6, rtol=0)
        assert torch.equal(mask_of(read[sample.name]), mask_of(sample))


def test_mvtec_masks_go_to_the_defect_of_their_folder(tmp_path: Path, write_image: Write) -> None:
    for name in ("train/good/000", "test/good/000", "test/crack/000", "test/hole/000"):
        write_image(f"bottle/{name}.png")
    write_image("bottle/ground_truth/crack/000_mask.png", mask=True)
    write_image("bottle/ground_truth/hole/000_mask.png", mask=True)
    for root, source in ((tmp_path, "bottle"), (tmp_path / "bottle", "")):
        samples = open_images("auto", root, Splits(val=0.0))
        masks = {s.group: s.mask_path for s in samples if s.mask_path}
        assert {group: path.parent.name for group, path in masks.items()} == {"crack": "crack", "hole": "hole"}
        assert [int(mask_of(s).sum()) for s in samples] == [64 if s.label else 0 for s in samples]
        assert {s.source for s in samples} == {source}


def test_masks_in_one_folder_belong_to_anomalous_images(tmp_path: Path, write_image: Write) -> None:
    for name in ("normal/1.png", "normal/2.png", "anomalous/1.png"):
        write_image(name)
    mask = write_image("masks/1.png", mask=True)
    assert {s.name: s.mask_path for s in open_images("auto", tmp_path) if s.mask_path} == {"anomalous/1.png": mask}


def test_bmad_has_images_and_masks_side_by_side(tmp_path: Path, write_image: Write) -> None:
    write_image("train/good/1.png")
    for part in ("valid", "test"):
        for kind in ("good", "Ungood"):
            write_image(f"{part}/{kind}/img/1.png")
        Image.new("L", (20, 24)).save(write_image(f"{part}/good/label/1.png"))
        write_image(f"{part}/Ungood/label/1.png", mask=True)
    samples = open_images("auto", tmp_path)
    assert Counter((s.split, s.label, int(mask_of(s).sum())) for s in samples) == dict.fromkeys(
        [("train", 0, 0), ("val", 0, 0), ("val", 1, 64), ("test", 0, 0), ("test", 1, 64)], 1
    )


def test_index_with_every_column(tmp_path: Path, write_image: Write) -> None:
    for name in ("a.png", "b.png", "c.png"):
        write_image(name)
    write_image("m.png", mask=True)
    (tmp_path / "index.csv").write_text(
        "path,split,label,mask,finding,class,source,patient\n"
        "a.png,train,normal,,none,x,nih,1\nb.png,Test,1,m.png,nodule,y,rsna,2\nc.png,test,,,,,nih,3\n"
    )
    samples = {s.name: s for s in open_images("auto", tmp_path, Splits(val=0.0))}
    assert summary(samples.values()) == {
        "a.png": ("train", 0, ""),
        "b.png": ("test", 1, "nodule"),
        "c.png": ("test", None, ""),
    }
    assert [samples[name].source for name in sorted(samples)] == ["nih", "rsna", "nih"]
    assert int(mask_of(samples["b.png"]).sum()) == 64
    assert not mask_of(samples["a.png"]).any()
    assert samples["c.png"].load_mask() is None


def test_images_of_a_patient_stay_in_one_part(tmp_path: Path, write_image: Write) -> None:
    rows = [f"{write_image(f'{number}.png').name},normal,{number // 3}" for number in range(30)]
    (tmp_path / "index.csv").write_text("\n".join(["path,label,patient", *rows]))
    parts: dict[int, set[str]] = {}
    for sample in open_images("auto", tmp_path):
        parts.setdefault(int(sample.name.removesuffix(".png")) // 3, set()).add(sample.split)
    assert all(len(splits) == 1 for splits in parts.values())
    assert {split for splits in parts.values() for split in splits} == {"train", "val", "test"}


def test_hyper_kvasir_never_uses_the_copies_of_outlined_polyps(tmp_path: Path, write_image: Write) -> None:
    lower = "labeled-images/lower-gi-tract"
    for number in range(10):
        write_image(f"{lower}/quality-of-mucosal-views/bbps-2-3/{number}.jpg")
        write_image(f"{lower}/anatomical-landmarks/cecum/c{number}.jpg")
        write_image(f"{lower}/pathological-findings/polyps/p{number}.jpg")
        write_image(f"{lower}/quality-of-mucosal-views/bbps-0-1/u{number}.jpg")
        write_image(f"segmented-images/images/s{number}.jpg")
        write_image(f"segmented-images/masks/s{number}.jpg", mask=True)
    samples = open_images("auto", tmp_path)
    assert find_layout(tmp_path) == "hyper_kvasir"
    assert Counter(Path(s.name).parent.name for s in samples) == {"bbps-2-3": 10, "cecum": 10, "images": 10}
    assert all(abs(int(mask_of(s).sum()) - 64 * (s.label or 0)) < 12 for s in samples)
    assert all(s.split != "train" for s in samples if s.label)
    shutil.rmtree(tmp_path / "segmented-images")
    assert Counter(Path(s.name).parent.name for s in open_images("auto", tmp_path))["polyps"] == 10


def test_covidx_lines_are_read_from_the_right(tmp_path: Path, write_image: Write) -> None:
    for name in ("train/a.png", "train/b.png", "test/c.png"):
        write_image(name)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/train_COVIDx8A.txt").write_text("1 a.png normal rsna\nANON 12 3 b.png COVID-19 sirm\n")
    (tmp_path / "labels/test_COVIDx8A.txt").write_text("7 c.png pneumonia cohen\n\n")
    samples = open_images("auto", tmp_path, Splits(val=0.0))
    assert find_layout(tmp_path) == "covidx"
    assert {s.name: (s.split, s.label, s.group, s.source) for s in samples} == {
        "train/a.png": ("train", 0, "", "rsna"),
        "train/b.png": ("train", 1, "COVID-19", "sirm"),
        "test/c.png": ("test", 1, "pneumonia", "cohen"),
    }
    (tmp_path / "labels/test_COVIDx9B.txt").write_text("7 c.png positive cohen\n")
    with pytest.raises(UserError, match=r"several lists for test; keep one of test_COVIDx8A.txt, test_COVIDx9B.txt"):
        open_images("auto", tmp_path)


def test_rsna_boxes_become_masks_and_the_third_class_is_left_out(tmp_path: Path, write_image: Write) -> None:
    for name in ("n", "o", "x"):
        write_image(f"stage_2_train_images/{name}.png")
    (tmp_path / "stage_2_train_labels.csv").write_text(
        "patientId,x,y,width,height,Target\nn,,,,,0\no,8.0,4.0,8.0,8.0,1\no,0.0,20.0,5.0,4.0,1\nx,,,,,0\n"
    )
    (tmp_path / "stage_2_detailed_class_info.csv").write_text(
        "patientId,class\nn,Normal\no,Lung Opacity\no,Lung Opacity\nx,No Lung Opacity / Not Normal\n"
    )
    samples = {Path(s.name).stem: s for s in open_images("auto", tmp_path)}
    assert {name: (s.label, s.group) for name, s in samples.items()} == {"n": (0, ""), "o": (1, "Lung Opacity")}
    mask = mask_of(samples["o"])
    assert mask.sum() == 84
    assert mask[4:12, 8:16].all()
    assert mask[20:24, :5].all()
    assert not mask_of(samples["n"]).any()


def test_rsna_reads_dicom(tmp_path: Path, write_image: Write) -> None:
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    stored = np.asarray(Image.open(write_image("n.png")))
    (tmp_path / "stage_2_train_images").mkdir()
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.set_pixel_data(255 - stored, "MONOCHROME1", 8, generate_instance_uid=True)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.save_as(tmp_path / "stage_2_train_images/n.dcm", enforce_file_format=True)
    (tmp_path / "stage_2_train_labels.csv").write_text("patientId,x,y,width,height,Target\nn,,,,,0\n")
    (tmp_path / "stage_2_detailed_class_info.csv").write_text("patientId,class\nn,Normal\n")
    loaded = open_images("auto", tmp_path)[0].load()[0]
    assert loaded.shape == stored.shape
    assert np.corrcoef(loaded.numpy().ravel(), stored.ravel())[0, 1] > 0.9999


def test_a_plain_folder_and_one_image_are_unlabeled_unless_called_normal(tmp_path: Path, write_image: Write) -> None:
    paths = [write_image(f"sub/{number}.png") for number in range(10)]
    assert {s.label for s in open_images("auto", tmp_path)} == {None}
    assert [s.name for s in open_images("auto", paths[3])] == ["3.png"]
    normals = open_images("normals", tmp_path)
    assert Counter((s.split, s.label) for s in normals) == {("train", 0): 6, ("val", 0): 1, ("test", 0): 3}


def without_normals(write: Write, root: Path) -> None:
    write("anomalous/a.png")


def outside_of_classes(write: Write, root: Path) -> None:
    write("normal/a.png")
    write("b.png")


def unmatched_mask(write: Write, root: Path) -> None:
    write("train/good/1.png")
    write("test/crack/1.png")
    write("ground_truth/crack/2_mask.png", mask=True)


def half_divided(write: Write, root: Path) -> None:
    write("train/normal/a.png")
    write("anomalous/b.png")


def index(text: str) -> Callable[[Write, Path], None]:
    def write_index(write: Write, root: Path) -> None:
        write("a.png")
        (root / "index.csv").write_text(text)

    return write_index


def short_list(write: Write, root: Path) -> None:
    write("train/a.png")
    (root / "train.txt").write_text("a.png normal\n")


def nothing(write: Write, root: Path) -> None:
    (root / "empty").mkdir()


MISTAKES = {
    "no normals": (without_normals, r"has no normal images among 1; put some into a folder normal or good"),
    "outside": (outside_of_classes, r"b.png lies in no folder of a class; move it to one"),
    "unmatched mask": (unmatched_mask, r"mask .*crack/2_mask.png has no image"),
    "half divided": (half_divided, r"some images belong to a part .* but .*b.png does not"),
    "no column": (index("path,kind\na.png,normal\n"), r"index.csv needs a column label, has path, kind"),
    "label": (index("path,label\na.png,fine\n"), r"line 2: label must be normal \(0\) or anomalous \(1\), got 'fine'"),
    "split": (index("path,label,split\na.png,0,dev\n"), r"line 2: split must be train, val or test, got 'dev'"),
    "short row": (index("path,label,split\na.png,0\n"), r"index.csv, line 2: expected 3 fields"),
    "twice": (index("path,label\na.png,0\na.png,0\n"), r"a.png is listed twice"),
    "binary": (index("path,label\n\0,0\n"), r"lists .*, which does not exist|is not a table"),
    "file": (index("path,label\nb.png,0\n"), r"lists .*b.png, which does not exist \(1 of 1 files\)"),
    "short line": (short_list, r"train.txt, line 1: expected PATIENT FILE CLASS SOURCE, got 'a.png normal'"),
    "empty": (nothing, r"contains no picture"),
}


@pytest.mark.parametrize(("make", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_clear_line(
    tmp_path: Path, write_image: Write, make: Callable[[Write, Path], None], message: str
) -> None:
    make(write_image, tmp_path)
    with pytest.raises((UserError, FileNotFoundError), match=message) as caught:
        open_images("auto", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        open_images("auto", tmp_path / "nowhere")


def test_a_mask_with_anomalous_pixels_contradicts_a_normal_label(tmp_path: Path, write_image: Write) -> None:
    write_image("normal/1.png")
    write_image("masks/1.png", mask=True)
    with pytest.raises(UserError, match=r"mask .*1.png marks anomalous pixels, but .*1.png is labeled normal"):
        open_images("auto", tmp_path)[0].load_mask()


def test_brain_slices_open_by_table_and_by_folders() -> None:
    if not (SHARED / "brain_mri").is_dir():
        pytest.skip("needs the shared data")
    counts = {("train", 0): 161, ("val", 0): 20, ("val", 1): 21, ("test", 0): 60, ("test", 1): 60}
    for layout in ("auto", "folders"):
        samples = open_images(layout, SHARED / "brain_mri")
        assert Counter((s.split, s.label) for s in samples) == counts
    groups = Counter(s.group for s in open_images("auto", SHARED / "brain_mri") if s.split == "test")
    assert groups == {"": 60, "glioma_tumor": 20, "meningioma_tumor": 20, "pituitary_tumor": 20}
    assert samples[0].load().shape == (1, 224, 224)


def test_radiographs_open_with_their_source() -> None:
    if not (SHARED / "xray").is_dir():
        pytest.skip("needs the shared data")
    counts = {("train", 0): 222, ("val", 0): 30, ("val", 1): 30, ("test", 0): 80, ("test", 1): 80}
    for layout in ("auto", "folders"):
        samples = open_images(layout, SHARED / "xray")
        assert Counter((s.split, s.label) for s in samples) == counts
        assert {s.source for s in samples} == {"nih"}
