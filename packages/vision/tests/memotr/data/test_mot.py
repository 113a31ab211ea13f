from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from mnemic_vision.memotr.data import GeneratedSequences, MotSequences, OtherKind

PETS = Path(__file__).parents[6] / "shared" / "data" / "tracking"
GOOD = "1,7,2,3,4,5,1,1,0.5"
WriteSequence = Callable[..., Path]


@pytest.fixture
def write_sequence(tmp_path: Path) -> WriteSequence:
    """Return a function that writes a sequence of three frames, 16 pixels high and 24 wide."""

    def write(truth: str | None = GOOD, info: str | None = None, name: str = "walk") -> Path:
        folder = tmp_path / name
        (folder / "img1").mkdir(parents=True)
        for number in (1, 2, 3):
            Image.new("RGB", (24, 16), (number, 0, 0)).save(folder / "img1" / f"{number:06d}.png")
        if truth is not None:
            (folder / "gt").mkdir()
            (folder / "gt" / "gt.txt").write_text(truth)
        if info is not None:
            (folder / "seqinfo.ini").write_text(info)
        return folder

    return write


def test_a_sequence_has_name_images_and_rows_in_any_order(write_sequence: WriteSequence) -> None:
    folder = write_sequence("3,2,5,6,7,8,1,1,1\n\n1,7,2,-3,4.5,5,1,1,0.5\n3,1,0,0,2,2,1,1,1\n")
    (sequence,) = MotSequences(folder).sequences
    assert (sequence.name, sequence.num_frames, sequence.image_size) == ("walk", 3, (16, 24))
    assert sequence.image(1).shape == (3, 16, 24)
    assert sequence.image(1)[:, 0, 0].tolist() == [2, 0, 0]
    ids, labels, boxes, visibility = sequence.target_rows(0)
    assert (ids.tolist(), labels.tolist(), visibility.tolist()) == ([7], [0], [0.5])
    assert boxes.tolist() == [[2, -3, 4.5, 5]]
    assert len(sequence.target_rows(1).ids) == 0
    assert sequence.target_rows(2).ids.tolist() == [2, 1]


def test_mark_zero_and_other_classes_are_left_out(write_sequence: WriteSequence) -> None:
    folder = write_sequence("1,1,0,0,9,9,1,1,1\n1,2,0,0,9,9,0,1,1\n1,3,0,0,9,9,1,7,1\n1,3,0,0,0,9,0,1,1\n")
    assert MotSequences(folder).sequences[0].target_rows(0).ids.tolist() == [1]
    both = MotSequences(folder, classes=(7, 1)).sequences[0].target_rows(0)
    assert (both.ids.tolist(), both.labels.tolist()) == ([1, 3], [1, 0])


def test_the_world_positions_of_mot15_are_not_taken_for_classes(write_sequence: WriteSequence) -> None:
    rows = MotSequences(write_sequence("1,1,0,0,9,9,1,-1,-1,-1")).sequences[0].target_rows(0)
    assert (rows.labels.tolist(), rows.visibility.tolist()) == ([0], [1])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,7,2,3,4,5,1,1", r"gt\.txt, line 3: expected 9 columns .*, got 8"),
        ("1,7,2,3,4,5,1,1,1,1", r"gt\.txt, line 3: expected 9 columns .*, got 10"),
        ("1,7,2,3,four,5,1,1,1", r"gt\.txt, line 3: expected a finite number, got 'four'"),
        ("1,7,2,,4,5,1,1,1", r"gt\.txt, line 3: expected a finite number, got ''"),
        ("1,7,nan,3,4,5,1,1,1", r"gt\.txt, line 3: expected a finite number, got 'nan'"),
        ("1,7,2,3,4,inf,1,1,1", r"gt\.txt, line 3: expected a finite number, got 'inf'"),
        ("4,7,2,3,4,5,1,1,1", r"gt\.txt, line 3: frame must be from 1 to 3"),
        ("0,7,2,3,4,5,1,1,1", r"gt\.txt, line 3: frame must be from 1 to 3"),
        ("1.5,7,2,3,4,5,1,1,1", r"gt\.txt, line 3: frame and id must be whole"),
        ("1,7,8,3,4,5,1,1,1", r"gt\.txt, line 3: an id may occur once in a frame, got 1,7,8"),
        ("2,7,2,3,0,5,1,1,1", r"gt\.txt, line 3: width and height must be above 0"),
        ("2,7,2,3,4,-5,1,1,1", r"gt\.txt, line 3: width and height must be above 0"),
    ],
)
def test_a_malformed_line_is_named(write_sequence: WriteSequence, line: str, message: str) -> None:
    folder = write_sequence(f"{GOOD}\n\n{line}\n3,7,2,3,4,5,1,1,1\n")
    with pytest.raises(ValueError, match=message):
        MotSequences(folder)


@pytest.mark.parametrize("truth", ["", "1,1,0,0,9,9,1,3,1", "1,1,0,0,9,9,0,1,1"])
def test_a_sequence_may_have_no_object(write_sequence: WriteSequence, truth: str) -> None:
    (sequence,) = MotSequences(write_sequence(truth), require_ground_truth=True).sequences
    assert sequence.has_ground_truth
    assert len(sequence.target_rows(0).ids) == 0


def test_the_size_of_an_image_is_that_of_its_upright_form(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "1.jpg", exif=exif)
    (sequence,) = MotSequences(tmp_path).sequences
    assert sequence.image_size == tuple(sequence.image(0).shape[1:]) == (30, 20)


def test_what_is_no_object_is_kept_for_scoring(write_sequence: WriteSequence) -> None:
    lines = ["1,1,0,0,9,9,1,1,1", "1,2,0,0,9,9,0,1,1", "2,3,5,6,7,8,1,7,1", "2,4,0,0,9,9,1,3,1", "2,5,0,0,0,9,1,3,1"]
    folder = write_sequence("\n".join(lines))
    others = MotSequences(folder).sequences[0].others
    assert others.frames.tolist() == [0, 1, 1]
    assert others.boxes[1].tolist() == [5, 6, 7, 8]
    assert [*others.kinds] == [OtherKind.PASSIVE, OtherKind.DISTRACTOR, OtherKind.PASSIVE]
    cars = MotSequences(folder, classes=(7,)).sequences[0]
    assert OtherKind.DISTRACTOR not in cars.others.kinds


def test_ground_truth_is_optional_unless_required(write_sequence: WriteSequence) -> None:
    folder = write_sequence(None)
    (sequence,) = MotSequences(folder).sequences
    assert not sequence.has_ground_truth
    with pytest.raises(ValueError, match="walk has no ground truth"):
        sequence.target_rows(0)
    with pytest.raises(FileNotFoundError, match=r"gt\.txt does not exist; this needs ground truth"):
        MotSequences(folder, require_ground_truth=True)


def test_missing_images_are_named(write_sequence: WriteSequence) -> None:
    folder = write_sequence()
    (folder / "img1" / "000002.png").unlink()
    with pytest.raises(ValueError, match=r"img1: 000001\.png is followed by number 3, not 2"):
        MotSequences(folder)
    for image in (folder / "img1").iterdir():
        image.unlink()
    with pytest.raises(ValueError, match="img1 contains no image"):
        MotSequences(folder)
    (folder / "img1").rmdir()
    with pytest.raises(FileNotFoundError, match="img1 does not exist"):
        MotSequences(folder)


def test_a_damaged_image_is_named(write_sequence: WriteSequence) -> None:
    folder = write_sequence()
    image = folder / "img1" / "000002.png"
    image.write_bytes(image.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"000002\.png is damaged"):
        MotSequences(folder).sequences[0].image(1)
    (folder / "img1" / "000001.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"000001\.png is damaged"):
        MotSequences(folder)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ("frameRate=10\n", r"seqinfo\.ini is malformed \(.*line: 1"),
        ("[Sequence]\nname=a\nbroken\n", r"seqinfo\.ini is malformed \(.*line 3\]: 'broken"),
        ("[Sequence]\nname=a\nframeRate=fast\n", r"seqinfo\.ini, line 3: frameRate must be .* got 'fast'"),
        ("[Sequence]\nframeRate=0\n", r"seqinfo\.ini, line 2: frameRate must be a number above 0"),
        ("[Sequence]\nframeRate=nan\n", r"seqinfo\.ini, line 2: frameRate must be a number above 0"),
        ("[Sequence]\nseqLength=2.5\n", r"seqinfo\.ini, line 2: seqLength must be a whole number above 0, got '2.5'"),
        ("[Sequence]\nseqLength=4\n", r"img1 has 3 images but seqinfo\.ini says seqLength=4"),
        ("[Other]\nname=a\n", r"seqinfo\.ini, line 1: expected \[Sequence\]"),
        ("", r"seqinfo\.ini, line 1: expected \[Sequence\]"),
    ],
)
def test_a_malformed_seqinfo_is_named(write_sequence: WriteSequence, info: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MotSequences(write_sequence(info=info))


def test_seqinfo_gives_the_frame_rate_and_is_optional(write_sequence: WriteSequence) -> None:
    sequence = MotSequences(write_sequence(info="[Sequence]\nframeRate=12.5\nseqLength=3\n")).sequences[0]
    assert sequence.frame_rate == 12.5
    assert MotSequences(write_sequence(name="other")).sequences[0].frame_rate == 25


def test_a_folder_of_sequences_is_read_in_order_of_names(write_sequence: WriteSequence) -> None:
    parent = write_sequence(name="b").parent
    write_sequence(name="a")
    (parent / "notes").mkdir()
    assert [sequence.name for sequence in MotSequences(parent).sequences] == ["a", "b"]


def test_a_plain_folder_of_images_is_a_sequence_without_ground_truth(tmp_path: Path) -> None:
    for name in ("shot2.jpg", "shot10.jpg", "shot1.JPG"):
        Image.new("L", (9, 7)).save(tmp_path / name)
    (sequence,) = MotSequences(tmp_path).sequences
    assert (sequence.num_frames, sequence.image_size, sequence.has_ground_truth) == (3, (7, 9), False)
    assert sequence.frames.names == ["shot1.JPG", "shot2.jpg", "shot10.jpg"]  # type: ignore[attr-defined]


def test_a_folder_without_sequences_says_where_to_look(write_sequence: WriteSequence, tmp_path: Path) -> None:
    write_sequence(name="train/walk")
    with pytest.raises(ValueError, match=r"contains no sequence: did you mean one of its folders train\?"):
        MotSequences(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="contains no sequence: a sequence has a folder img1"):
        MotSequences(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        MotSequences(tmp_path / "nowhere")


def test_the_halves_of_a_sequence_make_up_the_sequence(write_sequence: WriteSequence) -> None:
    folder = write_sequence("".join(f"{frame},7,{frame},3,4,5,1,1,1\n" for frame in (1, 2, 3)))
    first, second = (MotSequences(folder, part=part).sequences[0] for part in ("first_half", "second_half"))
    assert (first.num_frames, second.num_frames) == (2, 1)
    assert second.image(0)[0, 0, 0] == 3
    assert second.target_rows(0).boxes[0, 0] == 3
    assert first.target_rows(1).boxes[0, 0] == 2


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    world = GeneratedSequences(seed=4, num_sequences=2, num_frames=3, size=(96, 128))
    world.write_mot_layout(tmp_path)
    for written, read in zip(world.sequences, MotSequences(tmp_path).sequences, strict=True):
        assert (read.name, read.image_size, read.frame_rate) == (written.name, (96, 128), 10)
        for frame in range(3):
            assert (read.image(frame).int() - written.image(frame).int()).abs().float().mean() < 6  # JPEG
            for before, after in zip(written.target_rows(frame), read.target_rows(frame), strict=True):
                np.testing.assert_allclose(after, before, atol=0.006)


@pytest.mark.skipif(not PETS.exists(), reason="needs the shared tracking data")
@pytest.mark.parametrize(("part", "frames", "people", "boxes"), [("train", 520, 14, 2821), ("val", 100, 8, 597)])
def test_the_real_sequences_have_the_counts_of_their_description(
    part: str, frames: int, people: int, boxes: int
) -> None:
    (sequence,) = MotSequences(PETS / part, require_ground_truth=True).sequences
    rows = [sequence.target_rows(frame) for frame in range(sequence.num_frames)]
    assert (sequence.num_frames, sequence.image_size, sequence.frame_rate) == (frames, (384, 512), 10)
    assert len({int(identity) for row in rows for identity in row.ids}) == people
    assert sum(len(row.ids) for row in rows) == boxes
