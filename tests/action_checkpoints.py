"""Untrained checkpoints of action localization, and calls of the program that uses them."""

from pathlib import Path

import pytest
import torch

from mnemic_actions import cli
from mnemic_vision.frame_features import ExtractorConfig
from mnemic_vision.matr import EmissionRule, LocalizerCheckpoint, LocalizerSettings, Matr, MatrConfig
from mnemic_vision.matr.data import InputConfig

CLASSES = ("class_0", "class_1")
EAGER = EmissionRule(score=0.0, overlap=1.0, flag=0.0)  # an untrained network finds something


def write_checkpoint(path: Path, inputs: InputConfig, extractor: ExtractorConfig | None = None) -> Path:
    torch.manual_seed(0)
    config = MatrConfig(
        modalities=(inputs.num_features,),
        num_classes=len(CLASSES),
        dim=8,
        ffn_dim=8,
        encoder_layers=1,
        encoder_heads=2,
        decoder_layers=1,
        decoder_heads=2,
        window=8,
        num_queries=2,
        capacity=2,
    )
    settings = LocalizerSettings(inputs, CLASSES, 5.0, EAGER, extractor)
    model = Matr(config)
    for head, windows in ((model.end_head, 0.2), (model.start_head, 0.8)):  # before the newest frame
        torch.nn.init.zeros_(head[-1].weight)
        torch.nn.init.constant_(head[-1].bias, windows)
    LocalizerCheckpoint(model, settings, {}).save(path)
    return path


def command(*arguments: object) -> int:
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as exit_request:
        cli.main([*map(str, arguments)])
    return int(exit_request.value.code or 0)


def mistake(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line in which a command ends that exits with code 2."""
    capsys.readouterr()
    assert command(*arguments) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("mnemic-actions: error: ")
    return line
