#!/bin/sh
# The features of torchvision's S3D with random weights vanish in evaluation mode.
#
# Guess:  a network with fresh weights gives features of an ordinary size that depend on its input, so that it can stand
#         in for a trained one in tests and in measurements of what random features are worth.
# Seen:   torch 2.11.0, torchvision 0.26.0 (CPU): what enters the classifier of s3d() in evaluation mode is below 1e-5,
#         and two clips of noise differ by less than 1e-6 in it; r3d_18() gives more than 0.1. In training mode, where
#         batch norm uses the statistics of the batch instead of 0 and 1, both are of ordinary size.
# So:     a test with a random s3d proves little: rounding to half precision, or a small constant in a norm, leaves
#         nothing of its features. Take r3d_18, or let it see a few batches in training mode first.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q torch==2.11.0 torchvision==0.26.0 numpy==2.4.6
cat > "$work/features.py" <<'PYTHON'
import torch
import torchvision
from torchvision.models.video import r3d_18, s3d

torch.manual_seed(0)
clips = torch.rand(2, 3, 16, 224, 224)


def sizes(build, head, training):
    network, seen = build(weights=None).train(training), []
    network.get_submodule(head).register_forward_pre_hook(lambda module, given: seen.append(given[0].flatten(1)))
    with torch.no_grad():
        network(clips)
    (features,) = seen
    return features.abs().max().item(), (features[0] - features[1]).abs().max().item()


print(f"torch {torch.__version__}, torchvision {torchvision.__version__}: largest feature, largest difference of two clips")
found = {}
for build, head in ((s3d, "classifier"), (r3d_18, "fc")):
    for training in (False, True):
        mode = "training" if training else "evaluation"
        found[build.__name__, mode] = sizes(build, head, training)
        print(build.__name__, mode, *(f"{value:.1e}" for value in found[build.__name__, mode]))
assert found["s3d", "evaluation"][0] < 1e-5 and found["s3d", "evaluation"][1] < 1e-6
assert all(found[name][0] > 0.1 for name in found if name != ("s3d", "evaluation"))
PYTHON
cd "$work" && venv/bin/python features.py
