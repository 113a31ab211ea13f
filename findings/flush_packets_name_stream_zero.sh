#!/bin/sh
# PyAV: the packets that flush the decoders at the end of demux() have stream_index 0, whatever their stream is.
#
# Guess:  packet.stream_index equals packet.stream.index, as for all other packets.
# Seen:   av 18.1.0: at the end of a file of sound and film, the packet that flushes stream 1 has stream_index 0. A loop
#         that picks packets by stream_index never flushes the film's decoder and loses its last frames.
# So:     pick packets by packet.stream. Our readers do, and a film behind a cover picture is a test.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install -q av==18.1.0 numpy==2.4.6
env/bin/python - <<'P'
import av
import numpy as np

with av.open("film.mkv", "w") as file:
    sound = file.add_stream("pcm_s16le", rate=8000, layout="mono")
    film = file.add_stream("libx264", rate=10)
    film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
    for number in range(20):
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 12 * number, np.uint8))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        silence.sample_rate, silence.pts = 8000, 800 * number
        file.mux(sound.encode(silence))
        file.mux(film.encode(picture))
    file.mux(sound.encode(None))
    file.mux(film.encode(None))

frames = {"stream_index": 0, "stream.index": 0}
for way in frames:
    with av.open("film.mkv") as file:
        for packet in file.demux():
            index = packet.stream_index if way == "stream_index" else packet.stream.index
            if not packet.size:
                print(f"the packet that flushes stream {packet.stream.index} has stream_index {packet.stream_index}")
                assert packet.stream_index == 0
            if index == 1:
                frames[way] += len(packet.decode())
print("frames of 20, by the way of picking packets:", frames)
assert frames["stream.index"] == 20 > frames["stream_index"]
P
echo "as stated"
