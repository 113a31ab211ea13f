#!/bin/sh
# Lightning ends a training that gets SIGTERM with exit code 0 and writes no checkpoint.
#
# Guess:  a scheduler that ends a job early (SIGTERM) gets 143, and `ModelCheckpoint(save_last=True)` writes the state.
# Seen:   lightning 2.6.6, torch 2.11.0, one CPU process: fit ends at the next batch with a SystemExit of code 0,
#         nothing after fit runs, and no file is written (the last interval checkpoint would be 30 steps away).
# So:     a job script cannot tell such a run from a finished one; save and exit with 143 in a callback of one's own.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q lightning==2.6.6 torch==2.11.0 numpy==2.4.6
cat > "$work/train.py" <<'PYTHON'
import os
import signal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset


class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class EndOfJob(pl.Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 20:
            os.kill(os.getpid(), signal.SIGTERM)


checkpoints = ModelCheckpoint("checkpoints", save_last=True, save_top_k=-1, every_n_train_steps=50)
quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = pl.Trainer(max_steps=2000, accelerator="cpu", callbacks=[EndOfJob(), checkpoints], **quiet)
trainer.fit(Line(), DataLoader(TensorDataset(torch.ones(4000, 2))))
print("after fit")
PYTHON
cd "$work"
code=0
venv/bin/python train.py > log 2>&1 || code=$?
files=$(find . -name '*.ckpt' | wc -l)
reached=$(grep -c 'after fit' log || true)
echo "exit code $code, checkpoints $files, lines after fit $reached"
[ "$code" = 0 ] && [ "$files" = 0 ] && [ "$reached" = 0 ]
