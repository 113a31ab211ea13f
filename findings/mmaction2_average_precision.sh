#!/bin/sh
# mmaction2: average precision misses a prediction exactly at a threshold, and depends on the order of equal scores.
#
# Guess:  [0, 7] has tIoU 0.7 with [0, 10], so at the thresholds 0.3 ... 0.7 its average precision is 1; and a list of
#         predictions has one average precision, whatever order it is in.
# Seen:   mmaction2 1.2.0: tIoU is computed in float32, and 0.69999999 is below the 0.7 of numpy.linspace, from which it
#         takes its thresholds: the last one gives 0. linspace(0.3, 0.7, 5) also has 0.39999999999999997 for 0.4.
#         A right and a wrong prediction with one score give 1.0 or 0.5; the later one in the list is taken first.
# So:     float64 and literal thresholds; accept equal scores together, since no score threshold tells them apart.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q "numpy==2.4.6"
# Its evaluation functions need numpy alone; the package would want mmcv.
"$work/venv/bin/python" -m pip install -q --no-deps "mmaction2==1.2.0"
cat > "$work/evaluate.py" <<'PYTHON'
import importlib.util
import sys
from pathlib import Path

import numpy as np

(path,) = Path(sys.prefix).glob("lib/python*/site-packages/mmaction/evaluation/functional/accuracy.py")
spec = importlib.util.spec_from_file_location("accuracy", path)
accuracy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(accuracy)

TRUTH = {"clip": np.array([[0.0, 10.0]])}
THRESHOLDS = np.linspace(0.3, 0.7, 5)


def average_precision(*predictions):
    rows = [["clip", 0, start, end, score] for start, end, score in predictions]
    return accuracy.average_precision_at_temporal_iou(TRUTH, rows, THRESHOLDS).tolist()


right, wrong = (0.0, 10.0, 0.9), (20.0, 30.0, 0.9)
cases = {
    "[0, 7] in [0, 10]": (average_precision((0.0, 7.0, 0.9)), [1.0, 1.0, 1.0, 1.0, 0.0]),
    "wrong, right": (average_precision(wrong, right), [1.0] * 5),
    "right, wrong": (average_precision(right, wrong), [0.5] * 5),
    "linspace": (THRESHOLDS.tolist(), [0.3, 0.39999999999999997, 0.5, 0.6, 0.7]),
}
for name, (found, expected) in cases.items():
    print(f"{name:18} {found}")
    assert found == expected, expected
PYTHON
cd "$work" && venv/bin/python evaluate.py
