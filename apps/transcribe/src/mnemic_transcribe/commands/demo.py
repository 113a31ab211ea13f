"""``mnemic-transcribe demo``: one recording, everything that can be seen of it."""

from pathlib import Path

from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs
from mnemic_speech.conformer_ntm.decoding import Decoding


def demo(
    file: Path | None = None,
    data: Path = Path("../shared/data/speech_digits"),
    split: str | None = "dev_long",
    number: int = 0,
    out: Path = Path("runs/demo"),
    checkpoint: Path | None = None,
    decoding: Decoding | None = None,
    device: Device = "auto",
) -> None:
    """Transcribe a string of spoken digits, or a file, and draw its words and what the memory did.

    Args:
        file: any audio or video file, instead of a recording of the data.
        data: folder of digit strings, or any data that evaluate takes.
        split: a part of the data.
        number: which recording of it, counted from 0.
        out: folder for text, JSON, subtitles and the picture.
        checkpoint: weights to run; the shipped ones by default.
        decoding: ctc, attention, joint or rescoring; by default as the checkpoint says.
        device: where to run; auto takes a GPU where there is one.
    """
    from mnemic_speech.audio import read_audio
    from mnemic_transcribe.demonstration import find_recording, show_recording
    from mnemic_transcribe.plots import plot_recording
    from mnemic_transcribe.results import write_transcript
    from mnemic_transcribe.transcribers import open_transcriber

    transcriber = open_transcriber(checkpoint, decoding=decoding, device=device)
    if file is not None:
        name, said, waveform = file.stem, None, read_audio(file, transcriber.sample_rate)
    else:
        name, said, waveform = find_recording(transcriber, data, split, number)
    out.mkdir(parents=True, exist_ok=True)
    picture = out / f"{name}.png"
    check_outputs(picture, *(out / f"{name}.{kind}" for kind in ("txt", "json", "srt")))
    transcript = transcriber.transcribe(waveform, transcriber.sample_rate)
    paths = write_transcript(transcript, out, name, ("txt", "json", "srt"))
    history = [{"time": time, **report.as_dict()} for time, report in transcriber.reports(waveform)]
    plot_recording(waveform, transcriber.sample_rate, transcript, history, picture)
    show_recording(transcript.text, said, [*paths, picture])
