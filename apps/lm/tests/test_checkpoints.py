from dataclasses import replace
from pathlib import Path

import pytest
import torch
from damaged_files import check_refusals
from trained_files import training_content

from mnemic_core import MemoryConfig, TransformerConfig
from mnemic_lm.checkpoints import LanguageCheckpoint, LanguageSettings
from mnemic_lm.model import LanguageModel, LanguageModelConfig, ProductKeyConfig
from mnemic_lm.tokens import ByteCodec


@pytest.fixture
def trained() -> LanguageCheckpoint:
    memory = MemoryConfig("transformer_xl", {"capacity": 4, "num_heads": 2})
    transformer = TransformerConfig(dim=8, num_layers=2, num_heads=2, ffn_dim=8, memory=memory, memory_layers=(1,))
    config = LanguageModelConfig(transformer, 257, ProductKeyConfig(sub_keys=4, num_heads=1, k=2, key_dim=4))
    return LanguageCheckpoint(LanguageModel(config).eval(), LanguageSettings(8), {"seed": 3}, ByteCodec())


def test_an_exported_model_and_a_checkpoint_of_training_are_read_alike(
    trained: LanguageCheckpoint, tmp_path: Path
) -> None:
    trained.save(tmp_path / "a.safetensors")
    torch.save(training_content(trained), tmp_path / "last.ckpt")
    for path in (tmp_path / "a.safetensors", tmp_path / "last.ckpt"):
        loaded = LanguageCheckpoint.load(path)
        assert loaded.model.config == trained.model.config
        assert (loaded.settings, loaded.provenance, loaded.codec.source) == (LanguageSettings(8), {"seed": 3}, None)
        ids = torch.randint(256, (1, 5))
        logits = (each.model(ids, each.model.init_state(1))[0] for each in (loaded, trained))
        assert torch.equal(*logits)


def test_damaged_models_are_refused_in_one_line(trained: LanguageCheckpoint, tmp_path: Path) -> None:
    trained.save(tmp_path / "a.safetensors")
    torch.save(training_content(trained), tmp_path / "last.ckpt")
    (tmp_path / "damaged").mkdir()
    for name in ("a.safetensors", "last.ckpt"):
        check_refusals(LanguageCheckpoint.load, tmp_path / name, tmp_path / "damaged")


def test_another_number_of_tokens_is_refused(trained: LanguageCheckpoint) -> None:
    smaller = LanguageModel(replace(trained.model.config, vocab_size=9))
    with pytest.raises(ValueError, match="257 tokens in the codec, 9 in the network"):
        replace(trained, model=smaller)


def test_a_setting_of_a_newer_version_is_refused(trained: LanguageCheckpoint) -> None:
    header = trained.header()
    header["config"]["transformer"]["rotary"] = 1
    with pytest.raises(ValueError, match=r"settings that this version does not know \(rotary\): update mnemic-core"):
        LanguageCheckpoint.from_header(header, "a.ckpt")
