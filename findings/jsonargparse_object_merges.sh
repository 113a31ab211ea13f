#!/bin/sh
# jsonargparse: an object given on the command line for a nested dataclass does not replace that of the config file.
#
# Guess:  `--model.memory '{"name": "exponential"}'` makes a memory with that name and the defaults of all the rest.
# Seen:   jsonargparse 4.53.0: fields that the object leaves out keep the values of the config, here options that
#         belong to the other memory. A dict field is replaced by an object and extended by `--field.key value`.
# So:     whoever chooses another class or kind by its name must also clear the options of the former one.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q "jsonargparse[signatures]==4.53.0"
cat > "$work/config.yaml" <<'YAML'
memory: {name: window, options: {capacity: 4, heads: 2}}
YAML
cat > "$work/parse.py" <<'PYTHON'
from dataclasses import dataclass, field

from jsonargparse import ArgumentParser


@dataclass
class Memory:
    name: str = "none"
    options: dict[str, int] = field(default_factory=dict)


def parsed(*words: str) -> dict:
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_argument("--memory", type=Memory, default=Memory())
    return parser.parse_args(["--config=config.yaml", *words]).memory.as_dict()


cases = {
    '--memory={"name": "exponential"}': {"name": "exponential", "options": {"capacity": 4, "heads": 2}},
    '--memory.options={"capacity": 8}': {"name": "window", "options": {"capacity": 8}},
    "--memory.options.capacity=8": {"name": "window", "options": {"capacity": 8, "heads": 2}},
}
for word, expected in cases.items():
    found = parsed(word)
    print(f"{word:36} {found}")
    assert found == expected, expected
PYTHON
cd "$work" && venv/bin/python parse.py
