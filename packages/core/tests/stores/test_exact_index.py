import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mnemic_core.stores import ExactIndex, RecordStore, running_top_k
from mnemic_core.testing import unchecked_annotations

DIM = 3


@pytest.fixture
def keys() -> Tensor:
    return torch.randn(40, DIM, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def index(keys: Tensor) -> ExactIndex:
    index = ExactIndex(DIM)
    index.add(keys, [{"number": number} for number in range(40)])
    return index


QUERY = torch.randn(5, DIM, generator=torch.Generator().manual_seed(1))


def test_the_length_is_the_number_of_entries(index: ExactIndex) -> None:
    assert len(index) == 40


def test_search_gives_the_largest_inner_products_with_their_identities(index: ExactIndex, keys: Tensor) -> None:
    scores, identities = index.search(QUERY, k=7)
    expected = (QUERY @ keys.T).sort(descending=True)
    assert torch.equal(identities, expected.indices[:, :7])
    torch.testing.assert_close(scores, expected.values[:, :7])
    assert index.payload(int(identities[0, 0])) == {"number": int(identities[0, 0])}


def test_of_equal_scores_the_older_entry_comes_first() -> None:
    index = ExactIndex(1)
    index.add(torch.tensor([[1.0], [2.0], [1.0], [2.0], [1.0]]))
    assert index.search(torch.ones(1, 1), k=4)[1].tolist() == [[1, 3, 0, 2]]


def test_more_than_there_are_ends_with_nothing(index: ExactIndex) -> None:
    scores, identities = index.search(QUERY, k=42)
    assert (identities[:, 40:] == -1).all()
    assert (scores[:, 40:] == -torch.inf).all()
    assert (identities[:, :40].sort().values == torch.arange(40)).all()
    assert ExactIndex(DIM).search(QUERY, k=2)[1].tolist() == [[-1, -1]] * 5
    assert index.search(torch.empty(0, DIM), k=2)[1].shape == (0, 2)


def test_only_allowed_entries_are_found(index: ExactIndex, keys: Tensor) -> None:
    allowed = torch.arange(40) % 3 == 0
    scores = (QUERY @ keys.T).masked_fill(~allowed, -torch.inf)
    assert torch.equal(index.search(QUERY, k=4, allowed=allowed)[1], scores.topk(4).indices)
    assert (index.search(QUERY, k=4, allowed=torch.zeros(40, dtype=torch.bool))[1] == -1).all()


def test_removed_entries_are_never_found_and_identities_never_return(index: ExactIndex, keys: Tensor) -> None:
    alive = torch.ones(40, dtype=torch.bool)
    for removed in (torch.tensor([5, 0]), torch.arange(10, 30)):  # after the second, more than half are gone
        index.remove(removed)
        alive[removed] = False
        scores = (QUERY @ keys.T).masked_fill(~alive, -torch.inf)
        assert torch.equal(index.search(QUERY, k=6)[1], scores.topk(6).indices)
        assert torch.equal(index.identities, alive.nonzero()[:, 0])
    assert len(index) == 18
    assert index.add(keys[:1]).tolist() == [40]
    assert torch.equal(index.vectors(torch.tensor([40, 31])), keys[[0, 31]])
    assert index.payload(31) == {"number": 31}
    with pytest.raises(ValueError, match="no entry has the identity 12"):
        index.remove(torch.tensor([31, 12]))
    assert len(index) == 19


def test_an_empty_index_can_be_used_again(index: ExactIndex, keys: Tensor) -> None:
    index.remove(index.identities)
    assert len(index) == 0
    assert index.add(keys[:2]).tolist() == [40, 41]
    assert index.search(keys[:1], k=3)[1].tolist()[0][2] == -1


@pytest.mark.parametrize("sign", [1, -1])
def test_a_scan_in_bfloat16_equals_float32(sign: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_top_k, "SPAN_BYTES", 512)
    generator = torch.Generator().manual_seed(2)
    # Differences far below what bfloat16 can tell apart.
    keys = torch.ones(300, 8) + 1e-3 * torch.randn(300, 8, generator=generator)
    query = sign * (1 + torch.rand(4, 8, generator=generator))  # all scores have the same sign
    plain, rounded = ExactIndex(8), ExactIndex(8, scan="bfloat16")
    for index in (plain, rounded):
        index.add(keys[:100])
        index.add(keys[100:])
        index.remove(torch.arange(20, 40))
    scores, identities = plain.search(query, k=10)
    found_scores, found = rounded.search(query, k=10)
    torch.testing.assert_close(found_scores, scores)
    true = (query.double() @ keys.double().T).gather(1, found)
    torch.testing.assert_close(true.float(), scores)
    assert not torch.equal((query.bfloat16() @ keys.bfloat16().T).topk(10).indices, identities)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("scan", ["float32", "bfloat16"])
def test_a_loaded_index_answers_and_grows_as_the_saved_one(
    index: ExactIndex, tmp_path: Path, mapped: bool, scan: str
) -> None:
    index.remove(torch.tensor([3, 39]))
    index.save(tmp_path / "index")
    loaded = ExactIndex.load(tmp_path / "index", mapped=mapped, scan=scan)
    for each in (index, loaded):
        assert each.add(QUERY[:1]).tolist() == [40]
        each.remove(torch.tensor([7]))
    for found, expected in zip(loaded.search(QUERY, k=39), index.search(QUERY, k=39), strict=True):
        torch.testing.assert_close(found, expected)
    assert loaded.payload(38) == {"number": 38}


def test_mapped_vectors_stay_in_the_file(index: ExactIndex, tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    index.save(tmp_path)
    loaded = ExactIndex.load(tmp_path, mapped=True)
    assert str(tmp_path) in maps.read_text()
    assert len(loaded) == 40


def test_saving_again_replaces_the_files_even_under_a_mapped_index(
    index: ExactIndex, tmp_path: Path, keys: Tensor
) -> None:
    index.save(tmp_path)
    mapped = ExactIndex.load(tmp_path, mapped=True)
    index.add(keys[:1])
    index.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert len(ExactIndex.load(tmp_path)) == 41
    assert torch.equal(mapped.search(QUERY, k=3)[0], ExactIndex.search(index, QUERY, k=3)[0])


def vectors_file(folder: Path) -> Path:
    (path,) = folder.glob("*.safetensors")
    return path


def cut_vectors(folder: Path) -> None:
    path = vectors_file(folder)
    path.write_bytes(path.read_bytes()[:-8])


def flip_a_bit(folder: Path) -> None:
    content = bytearray(vectors_file(folder).read_bytes())
    content[-1] ^= 1
    vectors_file(folder).write_bytes(content)


def cut_manifest(folder: Path) -> None:
    text = (folder / "index.json").read_text()
    (folder / "index.json").write_text(text[: len(text) // 2])


def change_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_vectors, "store at .* is not complete"),
        (lambda folder: vectors_file(folder).unlink(), "store at .* is not complete"),
        (flip_a_bit, "changed or damaged"),
        (cut_manifest, "index.json is damaged"),
        (lambda folder: (folder / "index.json").write_text("[]"), "index.json is damaged"),
        (lambda folder: change_manifest(folder, vectors="../other.safetensors"), "index.json is damaged"),
        (lambda folder: change_manifest(folder, content={}), "inconsistent"),
        (lambda folder: change_manifest(folder, content={"dim": 3, "next_identity": 40, "payloads": []}), "0 payloads"),
        (
            lambda folder: change_manifest(folder, content={"dim": 3, "next_identity": 4, "payloads": [{}] * 40}),
            "below 4",
        ),
        (lambda folder: change_manifest(folder, format_version=3), "format 3, expected ExactIndex in format 2"),
    ],
)
def test_a_damaged_index_is_refused(index: ExactIndex, tmp_path: Path, damage: object, message: str) -> None:
    index.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        ExactIndex.load(tmp_path)


def test_a_missing_index_and_another_store_are_refused(index: ExactIndex, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no store at"):
        ExactIndex.load(tmp_path)
    index.save(tmp_path)
    with pytest.raises(ValueError, match="holds ExactIndex in format 2, expected RecordStore"):
        RecordStore.load(tmp_path)


def test_a_failed_save_leaves_the_old_index(
    index: ExactIndex, tmp_path: Path, keys: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.save(tmp_path)
    index.add(keys)
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        index.save(tmp_path)
    assert len(ExactIndex.load(tmp_path)) == 40
    assert len(list(tmp_path.iterdir())) == 2


def test_the_files_are_plain_safetensors_and_json(index: ExactIndex, tmp_path: Path, keys: Tensor) -> None:
    index.save(tmp_path)
    tensors = load_file(vectors_file(tmp_path))
    assert torch.equal(tensors["keys"], keys)
    save_file(tensors, tmp_path / "again.safetensors")
    start, end = tensors["payload_ends"][1:3].tolist()
    assert json.loads(bytes(tensors["payload_text"][start:end].tolist())) == {"number": 2}


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (torch.ones(2, 4), r"keys must be floating-point \[number, 3\], got torch.float32 \(2, 4\)"),
        (torch.ones(2, DIM, dtype=torch.long), "torch.int64"),
        (torch.full((1, DIM), torch.nan), "must be finite"),
        (torch.full((1, DIM), 1e20), "finite length in float32"),
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(index: ExactIndex, vectors: Tensor, message: str) -> None:
    with unchecked_annotations(), pytest.raises(ValueError, match=message):
        index.add(vectors)
    assert len(index) == 40


def test_impossible_requests_are_refused(index: ExactIndex, keys: Tensor) -> None:
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        index.search(QUERY, k=0)
    with pytest.raises(ValueError, match=r"allowed must be torch.bool \(40,\)"):
        index.search(QUERY, k=1, allowed=torch.ones(39, dtype=torch.bool))
    with pytest.raises(ValueError, match="got 1 for 40 keys"):
        index.add(keys, [{}])
    with pytest.raises(TypeError, match="json"):
        index.add(keys[:1], [{"set": {1}}])
    with pytest.raises(ValueError, match="dim must be at least 1"):
        ExactIndex(0)
    with unchecked_annotations(), pytest.raises(ValueError, match="scan must be one of float32, bfloat16, got 'int8'"):
        ExactIndex(DIM, scan="int8")


def test_payloads_are_the_stores_own() -> None:
    index, payload = ExactIndex(1), {"list": [1]}
    index.add(torch.ones(1, 1), [payload])
    payload["list"].append(2)
    index.payload(0)["more"] = True
    assert index.payload(0) == {"list": [1]}
