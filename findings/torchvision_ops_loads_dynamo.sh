#!/bin/sh
# Importing torchvision's box functions or a ResNet loads the compiler, torch._dynamo, which torch itself leaves out.
#
# Guess:  `torchvision.ops.boxes` (IoU and conversions, a few lines of tensor code) costs next to nothing after torch.
# Seen:   torch 2.11.0, torchvision 0.26.0: `import torch` does not load torch._dynamo; `torchvision.ops.boxes` and
#         `torchvision.models.resnet` do, with about a thousand more modules, and take more than a third of the CPU
#         time of `import torch` itself (measured 1.5 s after 2.0 s).
# So:     a program that should start quickly imports them late, or writes the two lines of IoU itself.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q torch==2.11.0 torchvision==0.26.0 numpy==2.4.6
cat > "$work/load.py" <<'PYTHON'
import sys
import time

started = time.process_time()
import torch

own, modules = time.process_time() - started, len(sys.modules)
assert "torch._dynamo" not in sys.modules
started = time.process_time()
__import__(sys.argv[1])
more = time.process_time() - started
print(f"torch {own:.2f} s, {sys.argv[1]} {more:.2f} s and {len(sys.modules) - modules} modules more")
assert "torch._dynamo" in sys.modules
assert len(sys.modules) - modules > 500 and more > own / 3
PYTHON
cd "$work"
for module in torchvision.ops.boxes torchvision.models.resnet; do
    venv/bin/python load.py "$module" > /dev/null  # once for the file cache and the byte code
    venv/bin/python load.py "$module"
done
