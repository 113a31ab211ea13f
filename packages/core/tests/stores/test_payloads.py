import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mnemic_core.errors import UserError
from mnemic_core.stores import ExactIndex
from mnemic_core.stores.payloads import Payloads
from mnemic_core.tensor_file import checksum

CONTENTS: list[dict[str, Any]] = [{"text": "Größe"}, {}, {"nested": [1, {"a": None}]}, {"half": "\ud800"}]


def restored(payloads: Payloads, rows: list[int]) -> Payloads:
    return Payloads.of_snapshot(payloads.tensors(torch.tensor(rows, dtype=torch.long)), {})


def test_they_change_as_a_list_does_wherever_they_lie() -> None:
    random, payloads, expected = Random(0), Payloads(), list[dict[str, Any]]()
    for step in range(300):
        fresh = [{"step": step, **random.choice(CONTENTS)} for _ in range(random.randrange(4))]
        payloads.extend(fresh)
        expected += fresh
        rows = sorted(random.sample(range(len(expected)), len(expected) // 4))
        what = random.randrange(3)
        if what == 0:
            payloads.forget(torch.tensor(rows, dtype=torch.long))
            expected = [{} if row in rows else content for row, content in enumerate(expected)]
        elif what == 1 and len(expected) > 30:
            payloads.keep(torch.tensor(rows, dtype=torch.long))
            expected = [expected[row] for row in rows]
        else:
            payloads = restored(payloads, [*range(len(expected))])
        assert [payloads[row] for row in range(len(payloads))] == expected


def test_some_of_them_are_stored() -> None:
    payloads = Payloads()
    payloads.extend(CONTENTS)
    assert [restored(payloads, [3, 1])[row] for row in range(2)] == [CONTENTS[3], {}]
    assert len(restored(payloads, [])) == 0


@pytest.mark.parametrize("ends", [[2, 1, 8], [2, 4], [-1, 9, 8]])
def test_ends_that_do_not_fit_are_refused(ends: list[int]) -> None:
    text = torch.frombuffer(bytearray(b"{} {}  1"), dtype=torch.uint8)
    with pytest.raises(UserError, match="payloads end outside of their text of 8 bytes"):
        Payloads.of_snapshot({"payload_text": text, "payload_ends": torch.tensor(ends)}, {})


def test_damaged_text_is_refused_when_it_is_asked_for(tmp_path: Path) -> None:
    index = ExactIndex(1)
    index.add(torch.ones(2, 1), [{"number": 0}, {"number": 1}])
    index.save(tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    tensors["payload_text"][3] = 0
    save_file(tensors, path)
    loaded = ExactIndex.load(tmp_path, mapped=True)
    assert loaded.payload(1) == {"number": 1}
    with pytest.raises(UserError, match=r"payload of an entry is damaged .* save the index again"):
        loaded.payload(0)


@pytest.mark.parametrize("mapped", [False, True])
def test_an_index_of_format_1_is_read(mapped: bool, tmp_path: Path) -> None:
    index = ExactIndex(1)
    index.add(torch.ones(4, 1), [*CONTENTS[:3], {"number": 3}])
    index.save(tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    manifest = json.loads((tmp_path / "index.json").read_text())
    older = {name: tensor.clone() for name, tensor in load_file(path).items() if not name.startswith("payload")}
    save_file(older, path)
    content = manifest["content"] | {"payloads": [*CONTENTS[:3], {"number": 3}]}
    (tmp_path / "index.json").write_text(
        json.dumps(manifest | {"format_version": 1, "content": content, "checksum": checksum(older)})
    )
    loaded = ExactIndex.load(tmp_path, mapped=mapped)
    assert [loaded.payload(number) for number in range(4)] == [*CONTENTS[:3], {"number": 3}]
    loaded.save(tmp_path)
    assert ExactIndex.load(tmp_path).payload(2) == CONTENTS[2]
