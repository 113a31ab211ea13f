"""A memory carried over segments: what was said at the beginning is still there at the end."""

# %%
import torch

from mnemic_core import MemoryConfig

torch.manual_seed(0)
facts = torch.randn(1, 3, 16)  # three things worth remembering, in the first of twenty segments
segments = [facts, *(0.1 * torch.randn(19, 1, 3, 16))]

# %%
for name, options in {"none": {}, "exponential": {"decay": 0.01}, "window": {"capacity": 64}}.items():
    memory = MemoryConfig(name, options).build(dim=16)
    state = memory.init_state(batch=1)
    for segment in segments:
        state = memory.write(state, segment)
    question = facts[:, 1:2] + 0.3 * torch.randn(1, 1, 16)  # a noisy cue of the second
    recalled = memory.read(4 * question, state)
    similarity = torch.cosine_similarity(recalled, facts, dim=-1)[0]
    print(
        f"{name:<12} cosine of the recalled vector and each fact: {[round(value, 2) for value in similarity.tolist()]}"
    )

# %%
print(memory.report(state, query=4 * question).as_table())
