#!/bin/sh
# The first eager call of a torch.library.custom_op loads torch's compiler, also where nothing is compiled.
#
# Guess:  a custom operator costs its dispatch; the compiler is loaded by those who call torch.compile.
# Seen:   torch 2.11.0 (CPU): neither `import torch` nor the definition of the operator loads torch._dynamo. Its first call
#         does, in inference mode too, with sympy and more than 500 modules: about one second of processor time, half of
#         what `import torch` takes. Later calls are quick.
# So:     a program that should have its first result soon calls the plain function while it neither compiles nor exports.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q torch==2.11.0 numpy==2.4.6
cat > "$work/call.py" <<'PYTHON'
import sys
import time

import torch


@torch.library.custom_op("finding::double", mutates_args=())
def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


assert "torch._dynamo" not in sys.modules
before, seconds = len(sys.modules), []
for _ in range(2):
    started = time.process_time()
    with torch.inference_mode():
        assert double(torch.ones(2)).tolist() == [2.0, 2.0]
    seconds.append(time.process_time() - started)
print(f"torch {torch.__version__}: first call {seconds[0]:.2f} s, second {seconds[1]:.4f} s")
print(f"{len(sys.modules) - before} modules more, torch._dynamo and sympy among them")
assert {"torch._dynamo", "sympy"} <= sys.modules.keys()
assert len(sys.modules) - before > 500 and seconds[0] > 100 * seconds[1]
PYTHON
cd "$work"
venv/bin/python call.py > /dev/null  # once for the file cache and the byte code
venv/bin/python call.py
