"""A memory of texts that is filled, asked, and forgets; with the packages of weights that `make install` brings."""

# %%
from pathlib import Path

from mnemic_retrieval.data import Source
from mnemic_retrieval.murag import Assistant, MuragCheckpoint, Question
from mnemic_retrieval.store import LanceStore

checkpoints = Path(__file__).parents[1] / "apps/ask/src/mnemic_ask/checkpoints"
network = MuragCheckpoint.load(checkpoints / "stamps.safetensors")

# %%
assistant = Assistant(network, LanceStore.create("facts.memory", Assistant.settings_of(network)))
facts = ["numbat, a kind of marsupial: small Australian anteater", "quokka, a kind of wallaby: short-tailed animal"]
assistant.add([Source(fact.split(",")[0], "text", fact) for fact in facts])  # no training; pictures go in likewise
question = Question("What kind of thing is this? numbat")
for _ in range(2):
    for answer in assistant.ask([question]):
        print(answer.text, [(each.item.id, round(each.share, 2)) for each in answer.citations])
    assistant.store.delete(["numbat"])
