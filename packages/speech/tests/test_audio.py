import struct
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.testing import assert_close
from torchaudio.functional import resample

from mnemic_core.errors import UserError
from mnemic_speech import audio_sources
from mnemic_speech.audio import audio_duration, read_audio, stream_audio, stream_microphone
from mnemic_speech.features import FeatureConfig, Features, FeatureStream
from mnemic_speech.silence import SilenceSplitter

RATE = 16000
TOLERANCES = {  # how far a format is from what was written, on average
    "wav": ("WAV", "PCM_16", 2**-15),
    "8 bit": ("WAV", "PCM_U8", 2**-7),
    "24 bit": ("WAV", "PCM_24", 2**-15),
    "float": ("WAV", "FLOAT", 1e-7),
    "flac": ("FLAC", "PCM_16", 2**-15),
    "aiff": ("AIFF", "PCM_16", 2**-15),
    "sphere": ("NIST", "PCM_16", 2**-15),
    "vorbis": ("OGG", "VORBIS", 0.05),
    "opus": ("OGG", "OPUS", 0.05),
    "mp3": ("MP3", "MPEG_LAYER_III", 0.05),
}


def tone(seconds: float = 1.0, rate: int = RATE) -> Tensor:
    time = torch.arange(round(seconds * rate)) / rate
    return 0.5 * torch.sin(2 * torch.pi * (200 + 300 * time) * time)


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare by the average difference: codecs err by more in places."""
    assert actual.shape == expected.shape
    assert (actual - expected).square().mean().sqrt() <= tolerance


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_file(
        waveform: Tensor, rate: int = RATE, kind: str = "wav", name: str = "recording", channels: int = 1
    ) -> Path:
        container, subtype, _ = TOLERANCES[kind]
        path = tmp_path / name
        samples = waveform.numpy() if waveform.ndim == 2 else np.repeat(waveform.numpy()[:, None], channels, axis=1)
        soundfile.write(path, samples, rate, format=container, subtype=subtype)
        return path

    return write_file


def write_container(path: Path, waveform: Tensor, container: str, codec: str, *, video: bool = False) -> Path:
    options = {"movflags": "faststart"} if container == "mp4" else {}
    with av.open(path, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono")
        if video:
            pictures = file.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
            for _ in range(int(len(waveform) / RATE * 10)):
                file.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
            file.mux(pictures.encode(None))
        converter = av.AudioResampler(stream.format.name, "mono", RATE)
        for index, piece in enumerate(waveform.split(1024)):
            frame = av.AudioFrame.from_ndarray(piece.numpy()[None], format="flt", layout="mono")
            frame.sample_rate, frame.pts = RATE, 1024 * index
            for converted in converter.resample(frame):
                file.mux(stream.encode(converted))
        file.mux(stream.encode(None))
    return path


def shorten(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def blocks_and_error(path: Path, rate: int = RATE) -> tuple[Tensor, str]:
    blocks = []
    try:
        for block in stream_audio(path, rate, block_seconds=0.1):
            blocks.append(block)  # noqa: PERF402  what came before the error is wanted
    except ValueError as error:
        return torch.cat([torch.zeros(0), *blocks]), str(error)
    return torch.cat(blocks), ""


@pytest.mark.parametrize("kind", TOLERANCES)
def test_reading_and_streaming_a_format_are_equal(write: Callable[..., Path], kind: str) -> None:
    path = write(tone(), kind=kind, channels=2)
    waveform = read_audio(path, RATE)
    assert waveform.dtype == torch.float32
    assert_near(waveform, tone(), TOLERANCES[kind][2])
    assert_close(torch.cat(list(stream_audio(path, RATE, 0.13))), waveform, rtol=0, atol=1e-6)
    assert audio_duration(path) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("container", "codec", "video"),
    [("mp4", "aac", False), ("mp4", "aac", True), ("matroska", "pcm_s16le", True), ("matroska", "pcm_f32le", False)],
)
def test_the_sound_of_videos_is_read(tmp_path: Path, container: str, codec: str, video: bool) -> None:
    path = write_container(tmp_path / "film", tone(1.5), container, codec, video=video)
    waveform = read_audio(path, RATE)
    assert_near(waveform[: RATE + RATE // 2], tone(1.5), 2**-15 if "pcm" in codec else 0.05)
    assert_close(torch.cat(list(stream_audio(path, RATE))), waveform)
    assert audio_duration(path) == pytest.approx(1.5, abs=0.1)
    assert_close(read_audio(path, RATE, offset=0.5, duration=0.25), waveform[RATE // 2 : 3 * RATE // 4])


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000])
def test_any_rate_is_resampled_to_the_requested_one(write: Callable[..., Path], rate: int) -> None:
    path = write(tone(0.5, rate), rate, "float")
    assert_close(read_audio(path, RATE), resample(tone(0.5, rate).double(), rate, RATE).float(), rtol=0, atol=1e-6)
    assert_close(torch.cat(list(stream_audio(path, RATE, 0.07))), read_audio(path, RATE), rtol=0, atol=1e-6)


def test_channels_are_averaged(write: Callable[..., Path]) -> None:
    channels = torch.rand(900, 3) - 0.5
    assert_close(read_audio(write(channels, kind="float"), RATE), channels.mean(1))


@pytest.mark.parametrize("share", [-1.0, -0.95, -0.6])
def test_channels_of_opposite_polarity_do_not_cancel(write: Callable[..., Path], share: float) -> None:
    silence = torch.zeros(RATE)
    sound = torch.cat([silence, tone(3.0)])
    path = write(torch.stack([sound, share * sound], 1), kind="float")
    mixed = read_audio(path, RATE)
    assert_close(mixed, sound * (1 - share) / 2, rtol=0, atol=1e-6)
    assert_close(torch.cat(list(stream_audio(path, RATE, 0.3))), mixed)
    assert_close(read_audio(path, RATE, offset=2.0, duration=1.0), mixed[2 * RATE : 3 * RATE])


def test_different_voices_in_the_channels_keep_their_polarity(write: Callable[..., Path]) -> None:
    voices = torch.stack([tone(2.0), 0.3 * torch.randn(2 * RATE).clamp(-2, 2)], 1)
    assert_close(read_audio(write(voices, kind="float"), RATE), voices.mean(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("peak", [1.5, 30.0])
def test_float_files_beyond_full_scale_are_scaled(write: Callable[..., Path], peak: float) -> None:
    path = write(2 * peak * tone(1.5), kind="float")
    waveform = read_audio(path, RATE)
    assert_close(waveform, 2 * peak * tone(1.5) / (2 * peak * tone(1.5)).abs().max())
    assert_close(read_audio(path, RATE, offset=0.5, duration=0.25), waveform[RATE // 2 : 3 * RATE // 4])


@pytest.mark.parametrize("name", ["a.mp3", "a.raw", "a", "a.txt", "12:30.flac"])
@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_the_content_decides_not_the_name(write: Callable[..., Path], name: str, kind: str) -> None:
    assert len(read_audio(write(tone(), kind=kind, name=name), RATE)) == RATE


def test_blocks_have_the_requested_length(write: Callable[..., Path]) -> None:
    path = write(tone(1.0, 44100), 44100)
    assert [len(block) for block in stream_audio(path, 8000, 0.3)] == [2400, 2400, 2400, 800]


@pytest.mark.parametrize("kind", ["wav", "flac", "vorbis", "mp3"])
def test_a_part_equals_that_of_the_recording(write: Callable[..., Path], kind: str) -> None:
    path = write(tone(2.0), kind=kind)
    complete = read_audio(path, RATE)
    assert_close(read_audio(path, RATE, offset=0.5, duration=1.0), complete[RATE // 2 : RATE + RATE // 2])
    assert_close(read_audio(path, RATE, offset=1.5), complete[RATE + RATE // 2 :])
    assert len(read_audio(path, RATE, offset=1.5, duration=0.55)) == RATE // 2  # durations in lists are rounded


@pytest.mark.parametrize(
    ("offset", "duration", "message"),
    [
        (-1.0, None, "offset of at least 0"),
        (0.0, 0.0, "duration above 0 s, got 0.0 and 0.0"),
        (3.0, None, "ends before the offset 3.0 s"),
        (0.5, 2.0, "ends at 1.00 s, before the requested end at 2.50 s"),
    ],
)
def test_a_part_outside_is_refused(
    write: Callable[..., Path], offset: float, duration: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=rf"recording.*{message}"):
        read_audio(write(tone()), RATE, offset=offset, duration=duration)


def test_silence_and_clipping_are_legal(write: Callable[..., Path]) -> None:
    assert not read_audio(write(torch.zeros(500)), RATE).any()
    loud = torch.cat([torch.full((4000,), 3.0), torch.full((4000,), -3.0)])
    waveform = read_audio(write(loud, 8000, kind="float"), RATE)
    assert (waveform.min(), waveform.max()) == (-1, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 8000, 12345])
def test_the_error_for_nan_or_infinity_names_its_time(write: Callable[..., Path], value: float, place: int) -> None:
    samples = torch.stack([tone(), tone()], dim=1)
    samples[place, 1] = value
    read, error = blocks_and_error(write(samples, kind="float"))
    assert f"NaN or infinite sample at {place / RATE:.3f} s" in error
    assert_close(read, tone()[:place])


@pytest.mark.parametrize("kind", ["wav", "float", "aiff", "flac", "vorbis", "opus", "mp3"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_cut_off_file_is_read_until_there_and_then_named(write: Callable[..., Path], kind: str, share: float) -> None:
    complete = tone(4.0) + 0.02 * torch.randn(4 * RATE)
    path = shorten(write(complete, kind=kind), share)
    read, error = blocks_and_error(path)
    assert f"{path} is damaged or cut off after" in error
    assert len(complete) * (share - 0.4) < len(read) < len(complete)
    assert_near(read[:-2000], complete[: len(read) - 2000], TOLERANCES[kind][2])
    with pytest.raises(ValueError, match="cut off"):
        read_audio(path, RATE)
    assert len(read_audio(path, RATE, duration=0.2)) == RATE // 5  # what is there can be read


@pytest.mark.parametrize("number", [30, 5000])
def test_damage_within_a_flac_ends_nothing(
    write: Callable[..., Path], number: int, caplog: pytest.LogCaptureFixture
) -> None:
    complete = tone(4.0) + 0.02 * torch.randn(4 * RATE)
    path = write(complete, kind="flac")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + number] = bytes(number)
    path.write_bytes(data)
    waveform = read_audio(path, RATE)
    assert len(waveform) == 4 * RATE
    for part in (slice(0, RATE), slice(3 * RATE, 4 * RATE)):
        assert_near(waveform[part], complete[part], 2**-15)
    assert "damaged near" in caplog.text


@pytest.mark.parametrize("kind", ["vorbis", "opus", "mp3"])
def test_joined_recordings_are_read_to_their_end(write: Callable[..., Path], kind: str) -> None:
    path = write(tone(2.0), kind=kind)
    path.write_bytes(path.read_bytes() * 2)
    waveform, error = blocks_and_error(path)
    assert not error
    assert len(waveform) == pytest.approx(4 * RATE, abs=0.15 * RATE)
    assert (waveform[2 * RATE :] - waveform[2 * RATE :].mean()).square().mean().sqrt() > 0.3


@pytest.mark.parametrize("place", ["middle", "end"])
def test_padding_in_an_mp3_is_no_damage(write: Callable[..., Path], place: str) -> None:
    path = write(tone(4.0), kind="mp3")
    data = path.read_bytes()
    middle = len(data) // 2 if place == "middle" else len(data)
    path.write_bytes(data[:middle] + bytes(3000) + data[middle:])
    waveform, error = blocks_and_error(path)
    assert not error
    assert len(waveform) == pytest.approx(4 * RATE, abs=0.1 * RATE)


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska", "mpegts"])
def test_sound_that_starts_late_or_pauses_keeps_its_time(tmp_path: Path, container: str) -> None:
    with av.open(tmp_path / "film", "w", format=container) as file:
        pictures = file.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        sound = file.add_stream("aac", rate=RATE, layout="mono")
        for _ in range(60):
            file.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        file.mux(pictures.encode(None))
        for index, piece in enumerate(tone(2.0).split(1024)):
            frame = av.AudioFrame.from_ndarray(piece.numpy()[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 1024 * index + 2 * RATE + (RATE if index >= 16 else 0)
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    waveform = read_audio(tmp_path / "film", RATE)
    loud = waveform.unfold(0, 800, 800).square().mean(1).sqrt() > 0.1  # steps of 0.05 s
    steps = loud.nonzero().flatten().tolist()
    assert steps[0] == pytest.approx(40, abs=2)
    assert steps[-1] == pytest.approx(99, abs=2)
    assert not loud[64:80].any()
    assert audio_duration(tmp_path / "film") == pytest.approx(5.0, abs=0.15)


def two_tracks(path: Path, default: int | None) -> None:
    flags = [av.stream.Disposition(0), av.stream.Disposition(0)]
    if default is not None:
        flags[default] = av.stream.Disposition.default
    with av.open(path, "w", format="matroska") as file:
        streams = [file.add_stream("aac", rate=RATE, layout="mono") for _ in flags]
        for stream, flag in zip(streams, flags, strict=True):
            stream.disposition = flag
        for index, piece in enumerate(tone(1.0).split(1024)):
            for stream, level in zip(streams, (0.2, 1.0), strict=True):
                frame = av.AudioFrame.from_ndarray(level * piece.numpy()[None], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = RATE, 1024 * index
                file.mux(stream.encode(frame))
        for stream in streams:
            file.mux(stream.encode(None))


def level(path: Path, track: int | None = None) -> float:
    return float(read_audio(path, RATE, track=track).square().mean().sqrt())


def test_the_default_track_is_read_unless_another_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for default, loud in ((1, True), (0, False), (None, False)):
        path = tmp_path / f"{default}.mkv"
        two_tracks(path, default)
        assert (level(path) > 0.2) == loud
        assert f"has 2 audio tracks; number {1 + int(loud)} is read" in caplog.text
        assert level(path, track=1) < 0.1 < 0.2 < level(path, track=2)
        with pytest.raises(UserError, match="no audio track 3"):
            read_audio(path, RATE, track=3)


def test_a_track_without_a_decoder_is_never_chosen(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    two_tracks(path, 0)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"A_AAC", b"A_XYZ", 1))
    assert level(path) > 0.2
    with pytest.raises(UserError, match="no audio track 1 that can be decoded; those that can: 2"):
        read_audio(path, RATE, track=1)
    path.write_bytes(data.replace(b"A_AAC", b"A_XYZ"))
    with pytest.raises(UserError, match="no audio track that can be decoded"):
        read_audio(path, RATE)


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("matroska", "pcm_s16le"), ("adts", "aac")])
def test_a_cut_off_container_is_read_until_there_and_then_named(tmp_path: Path, container: str, codec: str) -> None:
    path = shorten(write_container(tmp_path / "film", tone(4.0), container, codec), 0.5)
    read, error = blocks_and_error(path)
    assert f"{path} is damaged or cut off after" in error
    assert RATE < len(read) < 3 * RATE


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_does_not_know_its_size(write: Callable[..., Path], size: int) -> None:
    path = write(tone())
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", size)
    path.write_bytes(data)
    assert_close(read_audio(path, RATE), tone(), rtol=0, atol=2**-15)


def test_a_flac_from_a_pipe_does_not_know_its_length(write: Callable[..., Path]) -> None:
    path = write(tone(), kind="flac")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the total number of samples, RFC 9639 section 8.2
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert_close(read_audio(path, RATE), tone(), rtol=0, atol=2**-15)
    assert audio_duration(path) == 1.0


def test_an_mp3_without_a_table_of_contents_is_read_to_its_end(write: Callable[..., Path]) -> None:
    path = write(torch.cat([torch.zeros(3 * RATE), tone(3.0)]), kind="mp3")
    data = path.read_bytes()
    path.write_bytes(data[data.index(b"\xff\xf3", 4) :])
    assert len(read_audio(path, RATE)) >= 6 * RATE


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello world\n" * 100, r"cannot be read as audio|has no audio stream"),
        (b"RIFF" + bytes(range(256)), "cannot be read as audio"),
    ],
)
def test_what_is_no_audio_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    for name in ("a.wav", "a.txt", "a.mp3"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=message) as caught:
            read_audio(tmp_path / name, RATE)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_without_samples_is_named(write: Callable[..., Path]) -> None:
    path = write(torch.zeros(0))
    for read in (lambda: read_audio(path, RATE), lambda: list(stream_audio(path, RATE))):
        with pytest.raises(ValueError, match=r"recording.* holds no samples"):
            read()


def test_a_film_without_sound_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(path, "w") as file:
        stream = file.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        file.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"film\.mp4 has no audio stream"):
        read_audio(path, RATE)
    for absent in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(FileNotFoundError, match="is no file"):
            read_audio(absent, RATE)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX resource usage")
def test_an_hour_passes_through_the_front_end_in_constant_memory(write: Callable[..., Path]) -> None:
    import resource

    path = write((tone(60.0, 8000) * (torch.arange(480_000) % 40_000 > 8000)).repeat(60), 8000, "8 bit")
    stream, splitter = FeatureStream(Features(FeatureConfig())), SilenceSplitter(RATE)
    peaks, frames, seconds = [], 0, 0.0
    for block in stream_audio(path, RATE):
        frames += len(stream.push(block))
        seconds += sum(len(segment.samples) / RATE for segment in splitter.push(block))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    assert len(peaks) == 3600
    assert frames == 360_000 - 1
    assert 0.7 < seconds / 3600 < 1
    assert peaks[-1] - peaks[100] < 30  # MiB; the waveform alone has 220


def test_a_block_has_a_length(write: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="block_seconds=0"):
        next(iter(stream_audio(write(tone()), RATE, 0.0)))


def test_a_live_input_is_streamed_at_the_requested_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    # FFmpeg's signal generator in place of the sound card; everything after it is what a microphone goes through.
    monkeypatch.setitem(audio_sources._LIVE_INPUTS, sys.platform, ("lavfi", "440", "sine=frequency={}:duration=1"))
    blocks = list(stream_microphone(8000, "1000"))
    assert {len(block) for block in blocks} == {800}
    spectrum = torch.fft.rfft(torch.cat(blocks)).abs()
    assert spectrum.argmax() == 1000


def test_a_missing_microphone_is_named() -> None:
    with pytest.raises(ValueError, match=r"microphone 'none such' cannot be opened.*another device"):
        next(iter(stream_microphone(8000, "none such")))
