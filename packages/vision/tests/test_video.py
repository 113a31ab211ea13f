import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mnemic_vision.video import VideoWriter, open_frames, read_image

WIDTH, HEIGHT = 48, 32


def flat(*color: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    return np.full((size[1], size[0], 3), color, dtype=np.uint8)


def noise(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(count)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, (WIDTH, HEIGHT), frame_rate=12.5) as writer:
        for frame in noise(20):
            writer.write(frame)
    return path


def save_images(folder: Path, file_names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for index, name in enumerate(file_names):
        Image.fromarray(flat(index, 0, 0)).save(folder / name)
    return folder


def test_a_written_video_reads_back_with_its_properties(video: Path) -> None:
    with open_frames(video) as frames:
        assert (frames.name, frames.size, frames.frame_rate, frames.num_frames) == ("clip", (WIDTH, HEIGHT), 12.5, 20)
        read = list(frames)
    assert len(read) == 20
    assert all(frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8 for frame in read)
    assert names(video.parent) == ["clip.mp4"]


@pytest.mark.parametrize("color", [(200, 30, 60), (20, 180, 90), (255, 255, 255), (0, 0, 0), (10, 40, 220)])
def test_colors_survive_the_round_trip(tmp_path: Path, color: tuple[int, int, int]) -> None:
    with VideoWriter(tmp_path / "a.mp4", (WIDTH, HEIGHT), 10.0) as writer:
        writer.write(flat(*color))
    with open_frames(tmp_path / "a.mp4") as frames:
        assert np.abs(next(frames).astype(int) - color).max() <= 4


@pytest.mark.parametrize(("size", "even"), [((1, 1), (2, 2)), ((3, 5), (4, 6)), ((8, 7), (8, 8))])
def test_odd_sides_get_one_more_row_or_column(tmp_path: Path, size: tuple[int, int], even: tuple[int, int]) -> None:
    with VideoWriter(tmp_path / "a.mp4", size, 10.0) as writer:
        writer.write(flat(90, 90, 90, size=size))
    with open_frames(tmp_path / "a.mp4") as frames:
        assert frames.size == even
        assert np.abs(next(frames).astype(int) - 90).max() <= 4


def test_a_frame_of_another_size_is_fitted_on_black(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (64, 32), 10.0) as writer:
        writer.write(flat(250, 250, 250, size=(16, 16)))
    with open_frames(tmp_path / "a.mp4") as frames:
        middle = next(frames)[16, :, 0]
    assert middle[4] < 20 < 230 < middle[32]


def test_a_failing_block_keeps_the_earlier_video(video: Path) -> None:
    earlier = video.read_bytes()
    with pytest.raises(TypeError), VideoWriter(video, (WIDTH, HEIGHT), 10.0) as writer:
        writer.write(flat(1, 2, 3) + None)
    assert video.read_bytes() == earlier
    assert names(video.parent) == ["clip.mp4"]


LIMITED = """
import resource, signal, sys
import numpy as np
from mnemic_vision.video import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
generator = np.random.default_rng(0)
with VideoWriter(sys.argv[1], (64, 64), 10) as writer:
    for _ in range(80):
        writer.write(generator.integers(0, 255, (64, 64, 3), dtype=np.uint8))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX file size limit")
@pytest.mark.parametrize("limit", [0, 20_000])
def test_a_full_disk_is_one_line_and_keeps_the_earlier_video(video: Path, limit: int) -> None:
    earlier = video.read_bytes()
    code = LIMITED.replace("LIMIT,", f"{limit},").replace("LIMIT)", f"{limit})")
    done = subprocess.run([sys.executable, "-c", code, str(video)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "disk full" in done.stderr.splitlines()[-1]
    assert str(video) in done.stderr.splitlines()[-1]
    assert video.read_bytes() == earlier
    assert names(video.parent) == ["clip.mp4"]


def test_a_portrait_recording_is_turned_upright(video: Path) -> None:
    with open_frames(video) as frames:
        lying = next(frames)
    data = bytearray(video.read_bytes())
    matrix = data.index(b"tkhd") + 44  # the display matrix of the track header, ISO 14496-12 section 8.3.2
    clockwise = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", *clockwise)
    video.write_bytes(data)
    with open_frames(video) as frames:
        assert frames.size == (HEIGHT, WIDTH)
        np.testing.assert_array_equal(next(frames), np.rot90(lying, -1))


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda pixels: pixels[:, ::-1]),
        ((1, 0, 0, -1), lambda pixels: pixels[::-1]),
        ((-1, 0, 0, -1), lambda pixels: np.rot90(pixels, 2)),
        ((0, -1, 1, 0), lambda pixels: np.rot90(pixels, 1)),
        ((0, 1, 1, 0), lambda pixels: pixels.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda pixels: np.rot90(pixels.transpose(1, 0, 2), 2)),
    ],
)
def test_mirrored_and_turned_recordings_are_shown_upright(
    video: Path, matrix: tuple[int, ...], shown: Callable[[np.ndarray], np.ndarray]
) -> None:
    with open_frames(video) as frames:
        stored = next(frames)
    data = bytearray(video.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    video.write_bytes(data)
    with open_frames(video) as frames:
        np.testing.assert_array_equal(next(frames), shown(stored))


def write_at(path: Path, times: list[float], codec: str = "libx264") -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(flat(10 * number, 0, 0))
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_frames_have_their_own_times_and_a_copy_keeps_them(tmp_path: Path, name: str) -> None:
    times = [0.0, 0.033, 0.067, 0.1, 2.0, 2.033, 2.5]
    write_at(tmp_path / name, times)
    seen = []
    with open_frames(tmp_path / name) as frames, VideoWriter(tmp_path / "copy.mp4", frames.size, 30.0) as writer:
        for frame in frames:
            seen.append(frames.time)
            writer.write(frame, frames.time)
    assert seen == pytest.approx(times, abs=0.002)
    with open_frames(tmp_path / "copy.mp4") as frames:
        assert [frames.time for _ in frames] == pytest.approx(times, abs=0.002)


def test_images_of_a_folder_have_the_times_of_their_rate(tmp_path: Path) -> None:
    folder = save_images(tmp_path / "walk" / "img1", ["1.jpg", "2.png", "3.bmp", "4.webp", "5.tif"]).parent
    (folder / "seqinfo.ini").write_text("[Sequence]\nframeRate=4\n")
    with open_frames(folder) as frames:
        assert [frames.time for _ in frames] == [0, 0.25, 0.5, 0.75, 1.0]


def test_a_raw_stream_has_the_rate_of_its_own_header(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.h264"), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in noise(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    with open_frames(tmp_path / "a.h264") as frames:
        assert frames.frame_rate == 10
        assert [frames.time for _ in frames] == pytest.approx([number / 10 for number in range(12)])


def test_the_shape_of_pixels_is_read_and_written(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (WIDTH, HEIGHT), 10.0, Fraction(16, 11)) as writer:
        writer.write(flat(1, 2, 3))
    with open_frames(tmp_path / "a.mp4") as frames:
        assert frames.pixel_shape == Fraction(16, 11)


def boxes(data: bytes, place: int) -> dict[bytes, bytes]:
    found = {}
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        found[kind], place = data[place : place + size], place + size
    return found


def put_cover_first(path: Path) -> None:
    """Write a cover picture before the tracks, as programs that tag files do."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    Image.new("RGB", (16, 16), "red").save(path.with_suffix(".jpg"))
    picture = struct.pack(">II", 13, 0) + path.with_suffix(".jpg").read_bytes()
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    tags = box(b"udta", box(b"meta", bytes(4) + handler + box(b"ilst", box(b"covr", box(b"data", picture)))))
    file = boxes(path.read_bytes(), 0)
    inner = boxes(file[b"moov"], 8)
    inner.pop(b"udta", None)
    moov = bytearray(box(b"moov", inner.pop(b"mvhd") + tags + b"".join(inner.values())))
    place = moov.index(b"stco") + 8  # offsets into the data behind it
    for entry in range(place + 4, place + 4 + 4 * struct.unpack_from(">I", moov, place)[0], 4):
        struct.pack_into(">I", moov, entry, struct.unpack_from(">I", moov, entry)[0] + len(moov) - len(file[b"moov"]))
    path.write_bytes(b"".join(bytes(moov) if kind == b"moov" else part for kind, part in file.items()))


def test_a_cover_picture_is_not_the_film(video: Path) -> None:
    put_cover_first(video)
    with av.open(str(video)) as container:
        assert container.streams.video[0].width == 16
    with open_frames(video) as frames:
        assert frames.size == (WIDTH, HEIGHT)
        assert len(list(frames)) == 20
    with open_frames(video, track=1) as frames:
        assert frames.size == (16, 16)
    with pytest.raises(ValueError, match="no video track 3 that can be decoded; those that can: 1, 2"):
        open_frames(video, track=3)


def test_a_track_without_a_decoder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_at(path, [0.0, 0.1])
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/XYZ"))
    with pytest.raises(ValueError, match="no video track that can be decoded"):
        open_frames(path)


def test_a_packet_that_cannot_be_decoded_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        packets = [*(p for f in noise(20) for p in stream.encode(av.VideoFrame.from_ndarray(f))), *stream.encode(None)]
        for number, packet in enumerate(packets):
            if number == 8:
                spoiled = av.Packet(bytes(255 - value for value in bytes(packet)))
                spoiled.pts, spoiled.dts, spoiled.duration = packet.pts, packet.dts, packet.duration
                spoiled.time_base, spoiled.stream = packet.time_base, stream
                container.mux(spoiled)
            else:
                container.mux(packet)
    with open_frames(path) as frames:
        times = [frames.time for _ in frames]
    assert times == pytest.approx([number / 10 for number in range(20) if number != 8], abs=1e-6)
    assert "could not be decoded were skipped (1)" in caplog.text


@pytest.mark.parametrize(("distance", "is_refused"), [(20, True), (5, False)])
def test_frames_that_build_on_a_lost_packet_are_counted_to_the_next_key_frame(
    tmp_path: Path, distance: int, is_refused: bool
) -> None:
    path, count, error = tmp_path / "a.mp4", 0, ""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"g": str(distance), "keyint_min": str(distance), "bf": "0", "sc_threshold": "0"}
        for frame in [*map(av.VideoFrame.from_ndarray, noise(20)), None]:
            container.mux(stream.encode(frame))
    with av.open(str(path)) as container:
        place = [packet.pos for packet in container.demux(video=0)][2]
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"\x7f\xff\xff\xff"  # the length of the packet's first part
    path.write_bytes(content)
    try:
        with open_frames(path) as frames:
            for _ in frames:
                count += 1
    except ValueError as damage:
        error = str(damage)
    assert count == 19  # all that there are come first
    assert ("a.mp4 is damaged" in error and "on which 17 of 19 frames build" in error) is is_refused


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.gif"])
def test_a_cut_in_formats_without_a_table_is_seen(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        codec = {"a.mkv": "libx264", "a.webm": "libvpx-vp9", "a.gif": "gif"}[name]
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "rgb8" if name == "a.gif" else "yuv420p"
        for frame in noise(40):
            picture = av.VideoFrame.from_ndarray(frame).reformat(format=stream.pix_fmt)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with open_frames(path) as frames:
        assert len(list(frames)) == 40
    halve(path)
    read = []
    with open_frames(path) as frames, pytest.raises(ValueError, match="damaged or cut off after"):
        read.extend(frames)
    assert 10 < len(read) < 30


def test_closing_early_ends_the_frames(video: Path) -> None:
    with open_frames(video) as frames:
        next(frames)
    assert list(frames) == []


def test_images_come_in_natural_order(tmp_path: Path) -> None:
    folder = save_images(tmp_path / "walk", ["2.png", "10.png", "b1.PNG", "1.png"])
    (folder / "notes.txt").write_text("no image")
    with open_frames(folder) as frames:
        assert (frames.name, frames.num_frames, frames.frame_rate) == ("walk", 4, 25.0)
        assert [int(frame[0, 0, 0]) for frame in frames] == [3, 0, 1, 2]


def test_images_of_a_folder_may_differ_in_size_and_mode(tmp_path: Path) -> None:
    Image.new("L", (5, 4)).save(tmp_path / "1.png")
    Image.new("RGBA", (1, 1)).save(tmp_path / "2.png")
    with open_frames(tmp_path) as frames:
        assert [frame.shape for frame in frames] == [(4, 5, 3), (1, 1, 3)]


def test_a_mot_sequence_has_its_frame_rate(tmp_path: Path) -> None:
    save_images(tmp_path / "seq" / "img1", ["000001.png"])
    (tmp_path / "seq" / "seqinfo.ini").write_text("[Sequence]\nframeRate=10\n")
    with open_frames(tmp_path / "seq") as frames:
        assert (frames.name, frames.frame_rate) == ("seq", 10.0)


@pytest.mark.parametrize("text", ["[Sequence]\nframeRate=ten", "frameRate=10", "[Sequence]\nframeRate=0"])
def test_a_malformed_seqinfo_is_named(tmp_path: Path, text: str) -> None:
    save_images(tmp_path / "img1", ["1.png"])
    (tmp_path / "seqinfo.ini").write_text(text)
    with pytest.raises(ValueError, match=r"seqinfo\.ini.*frameRate") as caught:
        open_frames(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    save_images(tmp_path / "img1", ["1.png", "2.png"])
    data = (tmp_path / "img1" / "2.png").read_bytes()
    (tmp_path / "img1" / "2.png").write_bytes(data[:-30])
    with open_frames(tmp_path) as frames:
        next(frames)
        with pytest.raises(ValueError, match=r"2\.png is damaged"):
            next(frames)


def test_a_missing_image_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"image nowhere\.png does not exist"):
        read_image("nowhere.png")


def write_avi(path: Path) -> None:
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in noise(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def halve_avi(path: Path) -> None:
    write_avi(path)
    halve(path)


def shave(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-400])


@pytest.mark.parametrize("cut", [halve, halve_avi, shave])
def test_a_video_that_breaks_off_raises_after_its_good_frames(video: Path, cut: Callable[[Path], None]) -> None:
    cut(video)
    read = []
    with open_frames(video) as frames, pytest.raises(ValueError, match=r"cut off after (\d+) frames") as caught:
        read.extend(frames)
    assert 0 < len(read) < 20
    assert f"after {len(read)} frames" in str(caught.value)


def test_frames_before_a_break_can_be_used_one_by_one(video: Path) -> None:
    complete = list(open_frames(video))
    halve(video)
    with open_frames(video) as frames:
        np.testing.assert_array_equal(next(frames), complete[0])
        np.testing.assert_array_equal(next(frames), complete[1])


def wav(path: Path) -> None:
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 80), dtype=np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), r"clip\.mp4 is empty \(0 bytes\)"),
        (lambda path: path.write_bytes(b"no video at all" * 50), r"clip\.mp4 cannot be read as a video"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), r"clip\.mp4 has no video stream"),
        (wav, r"clip\.mp4 has no video stream"),
    ],
)
def test_an_unusable_video_fails_when_opened(video: Path, make: Callable[[Path], None], message: str) -> None:
    make(video)
    with pytest.raises(ValueError, match=message) as caught:
        open_frames(video)
    assert "\n" not in str(caught.value)


def test_a_video_without_frames_is_an_error(tmp_path: Path) -> None:
    write_avi(tmp_path / "empty.avi")
    data = (tmp_path / "empty.avi").read_bytes()
    (tmp_path / "empty.avi").write_bytes(data[: data.index(b"movi") + 4])
    with pytest.raises(ValueError, match=r"empty\.avi has no frame"):
        open_frames(tmp_path / "empty.avi")


def test_writing_no_frame_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"no frame was written to .*a\.mp4"),
        VideoWriter(tmp_path / "a.mp4", (8, 8), 10.0),
    ):
        pass
    assert names(tmp_path) == []


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contains no image"):
        open_frames(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"), [("gone.mp4", "gone.mp4 does not exist"), ("98", "camera 98"), (99, "camera 99")]
)
def test_a_missing_source_is_named(source: str | int, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        open_frames(source)


@pytest.mark.parametrize(
    ("name", "size", "rate", "message"),
    [("a.avi", (4, 4), 10.0, r"name it a\.mp4"), ("a.mp4", (0, 4), 10.0, "above 0"), ("a.mp4", (4, 4), 0.0, "above 0")],
)
def test_a_writer_refuses_impossible_videos(
    tmp_path: Path, name: str, size: tuple[int, int], rate: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        VideoWriter(tmp_path / name, size, rate)
    assert names(tmp_path) == []


def test_a_missing_output_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist"):
        VideoWriter(tmp_path / "nowhere" / "a.mp4", (4, 4), 10.0)
