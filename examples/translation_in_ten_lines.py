"""English speech translated into German while it is spoken; the argument is a recording, such as speech.wav."""

# %%
import sys
from pathlib import Path

from mnemic_speech.audio import read_audio
from mnemic_speech.simultaneous import SimultaneousTranslator, Translator

checkpoints = Path(__file__).parents[1] / "apps/translate/src/mnemic_translate/checkpoints"
translator = Translator.load(checkpoints / "multi30k_en_de.safetensors")
rate = translator.features.config.sample_rate
samples = read_audio(Path(sys.argv[1]), rate)

# %%
stream = SimultaneousTranslator(translator)  # keeps a state of constant size; can be saved and continued
for piece in samples.split(rate // 10):  # as from a microphone
    for word in stream.push(piece):
        print(f"{word.seconds:6.2f} s  {word.text}")
print(stream.report().as_table())  # the bank of summaries
for word in stream.finish():
    print(f"{word.seconds:6.2f} s  {word.text}")
