#!/bin/sh
# torchaudio: the last segment of a shorter recording attends to what follows it in the batch, and Emformer returns more
# frames as lengths than its output has.
#
# Guess:  lengths keep attention from frames after the end of a recording, and the lengths that are returned are those
#         of the output.
# Seen:   torchaudio 2.11.0, segments of 8, right context 4, lengths 44 and 24 in a batch: with other values after frame
#         24 the shorter recording's outputs 16 to 19, its last ones, change by up to 0.4, those before not at all; also
#         with lengths without the right context (40 and 20). The output has 40 frames, the returned lengths are 44 and
#         24. Streaming with infer agrees with forward to 1e-5.
# So:     compare an Emformer with another encoder one recording at a time, and subtract the right context from its
#         lengths. Our encoder masks frames after the end in each window.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q "numpy==2.4.6" "torch==2.11.0" "torchaudio==2.11.0"
cat > "$work/emformer.py" <<'PYTHON'
import torch
from torchaudio.models import Emformer

SEGMENT, RIGHT = 8, 4
torch.manual_seed(0)
model = Emformer(
    32, 4, 64, 3, SEGMENT, left_context_length=8, right_context_length=RIGHT, max_memory_size=4
).eval()
batch = torch.randn(2, 40 + RIGHT, 32)
other = batch.clone()
other[1, 24:] = torch.randn(20, 32)
with torch.no_grad():
    for lengths in ([44, 24], [40, 20]):
        output, returned = model(batch, torch.tensor(lengths))
        changed = (model(other, torch.tensor(lengths))[0] - output)[1].abs().amax(-1)
        print(f"lengths {lengths}: output {tuple(output.shape)}, returned {returned.tolist()}, largest change in")
        print(f"  frames 0 to 15: {changed[:16].max():.3f}, frames 16 to 19: {changed[16:20].max():.3f}")
        assert output.shape[1] == 40 and returned.tolist() == lengths
        assert changed[:16].max() == 0 and changed[16:20].max() > 0.1
    parts, state = [], None
    for start in range(0, 40, SEGMENT):
        piece = batch[:1, start : start + SEGMENT + RIGHT]
        part, _, state = model.infer(piece, torch.tensor([SEGMENT + RIGHT]), state)
        parts.append(part)
    difference = (torch.cat(parts, 1) - model(batch[:1], torch.tensor([44]))[0]).abs().max().item()
print(f"streaming against forward: {difference:.1e}")
assert difference < 1e-5
PYTHON
cd "$work" && venv/bin/python emformer.py
