#!/bin/sh
# torch.onnx.export: an axis declared dynamic can come out fixed, without an error or a warning.
#
# Guess:  where the code of a module fixes the batch, for example by len(x) instead of x.shape[0], export with a named
#         dynamic batch fails, as torch.export.export does with the same arguments ("Constraints violated").
# Seen:   torch 2.11.0, onnxscript 0.7.2: torch.onnx.export(dynamo=True, verbose=False) tries its other ways of capturing
#         and writes a graph that takes only the batch of the example; onnxruntime refuses any other one. With Dim.AUTO or
#         Dim.DYNAMIC in place of the named axis, the same module gives a graph with a free batch.
# So:     run an exported graph on other sizes than those of the example before it is handed out.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q "torch==2.11.0" "numpy==2.4.6" "onnx==1.23.2" "onnxscript==0.7.2"
cat > "$work/export.py" <<'PYTHON'
import warnings

import torch
from torch import nn
from torch.export import Dim


class Prepend(nn.Module):
    def __init__(self, by_len):
        super().__init__()
        self.by_len, self.token = by_len, nn.Parameter(torch.zeros(1, 4))

    def forward(self, x):
        batch = len(x) if self.by_len else x.shape[0]
        return torch.cat([self.token.expand(batch, -1), x], dim=1)


def exported_batch(by_len, axis):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # none comes
        program = torch.onnx.export(
            Prepend(by_len).eval(), (torch.rand(2, 3),), dynamic_shapes=({0: axis},), dynamo=True, verbose=False
        )
    return program.model.graph.inputs[0].shape[0]


named = Dim("batch", min=1, max=64)
seen = {
    "len, named": exported_batch(True, named),
    "len, auto": exported_batch(True, Dim.AUTO),
    "len, dynamic": exported_batch(True, Dim.DYNAMIC),
    "shape, named": exported_batch(False, named),
}
print(seen)
assert seen["len, named"] == 2
assert all(not isinstance(seen[name], int) for name in ("len, auto", "len, dynamic", "shape, named"))
try:
    torch.export.export(Prepend(True).eval(), (torch.rand(2, 3),), dynamic_shapes=({0: named},))
except Exception as error:
    print("torch.export:", str(error).splitlines()[0][:60])
    assert "Constraints violated" in str(error)
else:
    raise AssertionError("torch.export accepts it")
PYTHON
"$work/venv/bin/python" "$work/export.py" 2> /dev/null
