#!/bin/sh
# One call of torch.compile, anywhere in the process, ends the argument checks of all torch.distributions.
#
# Guess:  torch.compile changes the function that it is given and nothing else; a distribution that is made later, outside
#         of compiled code, checks its arguments as before.
# Seen:   torch 2.11.0 (CPU): a new `Normal(0, 1)` checks its arguments by default. After torch.compile has wrapped one
#         unrelated function, with any backend, new distributions of every class do so only with `validate_args=True`.
#         The maintainers know (pull request 185438 of pytorch/pytorch).
# So:     code that relies on these checks gives `validate_args=True` itself; a test that expects an error of theirs must
#         not depend on which tests ran before it.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q torch==2.11.0 numpy==2.4.6
cat > "$work/checks.py" <<'PYTHON'
import torch
from torch.distributions import Bernoulli, Normal


def are_checked(**options):
    return [made._validate_args for made in (Normal(0.0, 1.0, **options), Bernoulli(0.5, **options))]


before = are_checked()
torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2))
after = are_checked()
print(f"torch {torch.__version__}: arguments are checked before {before}, after one compiled call {after}")
assert all(before) and not any(after)
assert all(are_checked(validate_args=True))
PYTHON
cd "$work" && venv/bin/python checks.py
