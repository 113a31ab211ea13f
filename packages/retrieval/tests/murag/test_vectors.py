from pathlib import Path

import timm
import torch

from mnemic_retrieval.encoders import PictureConfig, SentenceConfig
from mnemic_retrieval.murag import Entry, EntryEncoder, Murag, MuragConfig
from mnemic_retrieval.t5 import T5Config
from mnemic_retrieval.tokenizers import ByteTokenizer


def build(folder: Path) -> EntryEncoder:
    torch.manual_seed(0)
    weights = timm.create_model("test_efficientnet").state_dict()
    torch.save(weights, folder / "pictures.pth")
    sentences = SentenceConfig(vocab_size=259, dim=16, num_layers=1, num_heads=2, ffn_dim=16)
    pictures = PictureConfig("test_efficientnet", weights=str(folder / "pictures.pth"), has_classes=True)
    model = Murag(MuragConfig(T5Config(259, 16, 2, 8, 16, 1, 1), pictures, sentences)).eval()
    vectors = model.encoder.vectors
    assert vectors is not None
    torch.nn.init.normal_(vectors.class_vectors)
    return EntryEncoder(model, ByteTokenizer())


@torch.no_grad()
def test_the_question_layer_changes_questions_only(tmp_path: Path) -> None:
    encode = build(tmp_path)
    vectors = encode.model.encoder.vectors
    assert vectors is not None
    picture = torch.rand(3, 160, 160)
    entries = [Entry("a frog"), Entry("", picture), Entry("a frog", picture)]
    items = encode.vectors(entries, 8, is_question=False)
    assert torch.equal(encode.vectors(entries, 8, is_question=True), items)  # it is initialized to 0
    torch.nn.init.normal_(vectors.question_layer.weight)
    assert torch.equal(encode.vectors(entries, 8, is_question=False), items)
    asked = encode.vectors(entries, 8, is_question=True)
    assert torch.equal(asked, encode(entries, 8).vector)
    moved = (asked - items).abs().amax(1) > 1e-3
    assert moved.tolist() == [True, False, True]  # a picture without words asks nothing
