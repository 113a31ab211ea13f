#!/bin/sh
# torch: attention with dropout has no fused kernel on a CPU.
#
# Guess:  dropout_p=0.1 of scaled_dot_product_attention costs a random mask, a few percent of a training step, and
#         memory stays linear in the number of keys, as without dropout.
# Seen:   torch 2.11.0, CPU: without dropout the fused kernel runs (_scaled_dot_product_flash_attention_for_cpu), with any
#         dropout the math form, which writes all attention weights. 64 windows of 65 tokens with 4 heads of 16 channels,
#         forward and backward, one thread: 8.4 ms and 34.9 ms.
# So:     attention dropout is a setting of its own, apart from that of residual branches, and 0 for training on a CPU.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q "torch==2.11.0" "numpy==2.4.6"
cat > "$work/attend.py" <<'PYTHON'
import time

import torch
from torch.nn.functional import scaled_dot_product_attention

torch.set_num_threads(1)
parts = [torch.randn(64, 4, 65, 16, requires_grad=True) for _ in range(3)]


def step(dropout):
    scaled_dot_product_attention(*parts, dropout_p=dropout).sum().backward()


def kernels(dropout):
    with torch.profiler.profile() as profile:
        step(dropout)
    return {event.name for event in profile.events() if event.name.startswith("aten::_scaled_dot_product")}


def seconds(dropout):
    step(dropout)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        step(dropout)
        times.append(time.perf_counter() - start)
    return min(times)


for dropout in (0.0, 0.1):
    print(dropout, sorted(kernels(dropout)), f"{1000 * seconds(dropout):.1f} ms")
fused = "aten::_scaled_dot_product_flash_attention_for_cpu"
assert fused in kernels(0.0)
assert fused not in kernels(0.1)
assert "aten::_scaled_dot_product_attention_math" in kernels(0.1)
assert seconds(0.1) > 3 * seconds(0.0)
PYTHON
"$work/venv/bin/python" "$work/attend.py" 2> /dev/null
