"""``mnemic-transcribe demo``: transcribe and plot one recording."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import writing_together
from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs
from mnemic_speech.conformer_ntm.decoding import Decoding
from mnemic_transcribe.options import Format


def demo(
    file: Path | None = None,
    data: Path | None = None,
    split: str | None = None,
    number: int = 0,
    out: Path = Path("runs/demo"),
    checkpoint: Path | None = None,
    decoding: Decoding | None = None,
    device: Device = "auto",
) -> None:
    """Transcribe spoken digits, which come with the program, or a file, and plot words and memory use.

    Args:
        file: audio or video file to use instead.
        data: folder of digit strings, or any data that evaluate takes, to use a recording of.
        split: part of the data; default: all.
        number: index of the recording in the data, from 0.
        out: folder for text, JSON, subtitles and the plot.
        checkpoint: weights; default: the shipped ones.
        decoding: ctc, attention, joint or rescoring; default: that of the checkpoint.
        device: auto uses a GPU if available.
    """
    from mnemic_kit.result_files import write_formats
    from mnemic_transcribe.checkpoints import open_transcriber
    from mnemic_transcribe.demonstration import find_recording, read_recording, show_recording
    from mnemic_transcribe.plots import plot_recording

    if file is not None and data is not None:
        raise UserError("give a file or data, not both")
    transcriber = open_transcriber(checkpoint, decoding=decoding, device=device)
    if data is not None:
        name, reference, waveform = find_recording(transcriber, data, split, number)
    else:
        name, reference, waveform = read_recording(transcriber, file)
    out.mkdir(parents=True, exist_ok=True)
    picture = out / f"{name}.png"
    formats: tuple[Format, ...] = ("txt", "json", "srt")
    check_outputs(picture, *(out / f"{name}.{kind}" for kind in formats))
    transcript = transcriber.transcribe(waveform, transcriber.sample_rate)
    history = [{"time": time, **report.as_dict()} for time, report in transcriber.reports(waveform)]
    with writing_together():
        paths = write_formats(out, name, formats, transcript.render)
        plot_recording(waveform, transcriber.sample_rate, transcript, history, picture)
    show_recording(transcript.text, reference, [*paths, picture])
