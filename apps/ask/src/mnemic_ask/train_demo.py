"""``make train-demo-ask``: train the shipped checkpoint on pictures with captions and facts.

Run it again after an interruption to resume.
"""

import sys
from pathlib import Path

from mnemic_ask.commands import train
from mnemic_ask.opening import SHIPPED
from mnemic_kit.parse import call
from mnemic_kit.shipping import fit_and_ship
from mnemic_retrieval.murag import MuragCheckpoint


def train_demo(
    out: Path = Path("runs/train_demo_ask"),
    data: Path = Path("../shared/data/stamps"),
    checkpoint: Path = SHIPPED,
    options: tuple[str, ...] = (),
) -> None:
    """Train, and write the shipped checkpoint.

    Args:
        out: folder of the run.
        data: folder of stamps.
        checkpoint: file to write.
        options: further options of fit.
    """
    train_data = f"--data.train=[{{name: stamps, root: {data}, parts: [train], has_views: true}}]"
    val_data = f"--data.val=[{{name: stamps, root: {data}}}]"
    arguments = ["--config=murag_stamps", train_data, val_data, *options]
    fit_and_ship(train.main, arguments, out, MuragCheckpoint, checkpoint, "make train-demo-ask")


if __name__ == "__main__":
    call(train_demo, "python -m mnemic_ask.train_demo", sys.argv[1:])
