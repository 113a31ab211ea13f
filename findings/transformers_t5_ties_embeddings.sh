#!/bin/sh
# transformers: a new T5 has tied embeddings whatever its config says, and saved configs no longer tell whether they are tied.
#
# Guess:  T5Config(tie_word_embeddings=False), as in the released configs of T5 1.1, gives a T5 with an output layer of its
#         own, and a saved config.json says which of the two it is.
# Seen:   transformers 5.24.0: the config becomes True, the output layer is the embedding, and outputs are not scaled by the
#         root of the width, so that logits are sqrt(d_model) times as large as with both tied and scaled (1.0). Weights of
#         1.1 that hold a separate lm_head load as they are, with a warning; saved again, config.json says
#         tie_word_embeddings true and scale_decoder_outputs false beside a separate lm_head.weight.
# So:     take from the weights whether the layers are one, and from scale_decoder_outputs, or else from
#         tie_word_embeddings, whether outputs are scaled. A T5 1.1 that is to be trained from the start has to be untied
#         by hand. Our loader reads all of these.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q "numpy==2.4.6" "torch==2.11.0" "transformers==5.24.0"
cat > "$work/tied.py" <<'PYTHON'
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

sizes = {"vocab_size": 40, "d_model": 16, "num_heads": 2, "d_kv": 8, "d_ff": 24, "num_layers": 1}
config = T5Config(**sizes, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
made = T5ForConditionalGeneration(config).eval()
is_tied = made.lm_head.weight.data_ptr() == made.shared.weight.data_ptr()
print("new, tie_word_embeddings=False: config", made.config.tie_word_embeddings, "tied", is_tied)
assert made.config.tie_word_embeddings and is_tied

both = T5ForConditionalGeneration(T5Config(**sizes, feed_forward_proj="gated-gelu")).eval()
both.load_state_dict(made.state_dict())
tokens = torch.tensor([[5, 6, 1]])
with torch.no_grad():
    ratio = (made(tokens, decoder_input_ids=tokens).logits / both(tokens, decoder_input_ids=tokens).logits).median()
print(f"its logits over those with tie_word_embeddings=True: {ratio:.3f}, root of the width 4")
assert abs(ratio - 4) < 1e-3

made.save_pretrained("released")
weights = load_file("released/model.safetensors")
save_file({**weights, "lm_head.weight": torch.randn(40, 16)}, "released/model.safetensors", {"format": "pt"})
content = json.loads(Path("released/config.json").read_text())
del content["scale_decoder_outputs"]
Path("released/config.json").write_text(json.dumps(content | {"tie_word_embeddings": False}))
loaded = T5ForConditionalGeneration.from_pretrained("released")
apart = loaded.lm_head.weight.data_ptr() != loaded.shared.weight.data_ptr()
loaded.save_pretrained("again")
saved = json.loads(Path("again/config.json").read_text())
facts = {name: saved[name] for name in ("tie_word_embeddings", "scale_decoder_outputs")}
print("form of 1.1 loaded: layers apart", apart, "| saved again:", facts, "lm_head.weight" in load_file("again/model.safetensors"))
assert apart and facts == {"tie_word_embeddings": True, "scale_decoder_outputs": False}
PYTHON
cd "$work" && venv/bin/python tied.py
