"""``mnemic-translate demo``: translate one sentence, and plot when each word was written."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import writing_together
from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs
from mnemic_translate.options import Format, Shift


def demo(
    file: Path | None = None,
    text: str | None = None,
    voice: str = "flite:slt",
    data: Path = Path("../shared/data/multi30k/voiced.tsv"),
    number: int = 0,
    out: Path = Path("runs/demo"),
    checkpoint: Path | None = None,
    k: int | None = None,
    shift: Shift | None = None,
    device: Device = "auto",
) -> None:
    """Translate a voiced caption, a file or a text, and plot what was heard and when each word was written.

    Args:
        file: audio or video file of one utterance to use instead of the data.
        text: sentence to voice and translate instead of the data.
        voice: of the text, flite:NAME or espeak-ng:NAME.
        data: utterances, as for evaluate.
        number: index of the utterance, from 0.
        out: folder for text, JSON, subtitles and the plot.
        checkpoint: weights; default: the shipped ones, English to German.
        k: decisions of 320 ms that wait_k waits for before the first token.
        shift: which missing context of windows is replaced: all is shiftable context; default: as the checkpoint.
        device: auto uses a GPU if available.
    """
    from rich.console import Console

    from mnemic_kit.figures import can_plot
    from mnemic_kit.result_files import show_files, write_formats
    from mnemic_speech.simultaneous import translate
    from mnemic_translate.checkpoints import InferenceOptions, open_translator
    from mnemic_translate.demonstration import find_source
    from mnemic_translate.plots import plot_translation
    from mnemic_translate.running import as_transcript, show_words

    if file is not None and text is not None:
        raise UserError("give a file or a text, not both")
    translator = open_translator(checkpoint, InferenceOptions(None, "wait_k", k, None, shift), device)
    source = find_source(translator, file, text, voice, data, number)
    formats: tuple[Format, ...] = ("txt", "json", "srt")
    picture = out / f"{source.name}.png"
    check_outputs(picture, *(out / f"{source.name}.{kind}" for kind in formats))
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    words = translate(translator, source.samples)
    for label, shown in (("heard", source.text), ("reference", source.reference)):
        if shown:
            console.print(f"{label + ':':<11}{shown}", highlight=False, markup=False, soft_wrap=True)
    show_words(words, console)
    rate = translator.features.config.sample_rate
    transcript = as_transcript(words, len(source.samples) / rate, translator.target)
    with writing_together():
        paths = write_formats(out, source.name, formats, transcript.render)
        if can_plot():
            features = translator.features(source.samples[None])[0][0]
            plot_translation(features, translator.features.config.frame_seconds, words, picture, source.text)
            paths.append(picture)
    show_files(paths, console)
