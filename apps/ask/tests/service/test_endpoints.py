"""What the endpoints do with requests that are right."""

import hashlib
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hashed_assistant import HashedAssistant

from mnemic_ask.service import work
from mnemic_ask.service.settings import ServerSettings
from mnemic_retrieval.data import Source

ITEMS = [
    {"id": "car", "text": "a red car", "metadata": {"year": 1990, "tags": ["red"], "any": [None, {"x": 1.5}]}},
    {"id": "sea", "text": "the blue sea", "metadata": {"year": 2001}},
    {"id": "tree", "text": "a green tree"},
]


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    assert client.post("/upsert", json={"items": ITEMS}).json() == {"upserted": 3}
    return client


def test_an_item_is_found_as_it_was_sent_until_it_is_deleted(filled: TestClient) -> None:
    request = {"question": "a red car", "k": 1}
    (hit,) = filled.post("/search", json=request).json()["hits"]
    assert hit.pop("score") == pytest.approx(1)
    assert hit == ITEMS[0] | {"modality": "text", "picture": None, "version": 1}
    assert filled.post("/delete", json={"ids": ["car", "car", "unknown"]}).json() == {"deleted": 1}
    assert filled.post("/search", json=request).json()["hits"][0]["id"] != "car"


def test_more_hits_may_be_wanted_than_there_are_items(filled: TestClient) -> None:
    assert len(filled.post("/search", json={"question": "a", "k": 100}).json()["hits"]) == 3


def test_a_filter_chooses_items(filled: TestClient) -> None:
    for where, expected in (("year > 1995", {"sea"}), ('"red" in tags or year is None', {"car", "tree"})):
        hits = filled.post("/search", json={"question": "a", "where": where}).json()["hits"]
        assert {hit["id"] for hit in hits} == expected
        sources = filled.post("/ask", json={"question": "a", "where": where}).json()["sources"]
        assert {source["id"] for source in sources} == expected


def test_an_answer_names_its_sources(filled: TestClient, encoded: str) -> None:
    found = filled.post("/ask", json={"question": "the blue sea", "image": encoded}).json()
    assert found["answer"] == "the blue sea"
    assert found["is_sure"] is True
    best = found["sources"][0]
    assert (best["id"], best["region"]) == ("sea", None)


def test_a_new_item_replaces_the_one_of_its_id(filled: TestClient) -> None:
    filled.post("/upsert", json={"items": [{"id": "car", "text": "a bicycle"}]})
    (hit,) = filled.post("/search", json={"question": "a bicycle", "k": 1}).json()["hits"]
    assert (hit["id"], hit["text"], hit["metadata"], hit["version"]) == ("car", "a bicycle", {}, 2)


def test_a_picture_is_kept_under_its_hash_and_given_back(
    client: TestClient, settings: ServerSettings, picture: bytes, encoded: str
) -> None:
    digest = hashlib.sha256(picture).hexdigest()
    items = [{"id": "a", "image": encoded}, {"id": "b", "text": "red", "image": encoded}]
    assert client.post("/upsert", json={"items": items}).status_code == 200
    assert [path.name for path in settings.pictures.iterdir()] == [digest]
    hits = client.post("/search", json={"question": "red"}).json()["hits"]
    assert {hit["id"]: (hit["modality"], hit["picture"]) for hit in hits} == {
        "a": ("image", digest),
        "b": ("image_text", digest),
    }
    found = client.get(f"/pictures/{digest}")
    assert (found.content, found.headers["content-type"]) == (picture, "image/png")
    assert found.headers["x-content-type-options"] == "nosniff"


def test_a_picture_that_an_item_refers_to_is_given_while_it_is_the_same(
    client: TestClient, assistant: HashedAssistant, tmp_path: Path, picture: bytes
) -> None:
    path, digest = tmp_path / "elsewhere.png", hashlib.sha256(picture).hexdigest()
    path.write_bytes(picture)
    assert client.get(f"/pictures/{digest}").status_code == 404
    assistant.add([Source("a", "image", image=str(path))])
    assert client.get(f"/pictures/{digest}").content == picture
    path.write_bytes(picture + b"changed")
    assert client.get(f"/pictures/{digest}").status_code == 404


def test_a_file_that_is_no_picture_is_not_given(client: TestClient, assistant: HashedAssistant, tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("secret")
    assistant.add([Source("a", "image", image=str(path))])
    assert client.get(f"/pictures/{hashlib.sha256(b'secret').hexdigest()}").status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        *("..%2f..%2fetc%2fpasswd", "../../etc/passwd", "%2fetc%2fpasswd", "~", "", "." * 64, "%ff" * 64),
        *("A" * 64, "a" * 63, "\u0660" * 64, "a" * 64 + "%0a", "a" * 64 + "%00", "a" * 64 + "/.."),
    ],
)
def test_nothing_but_a_hash_names_a_picture(client: TestClient, settings: ServerSettings, name: str) -> None:
    settings.pictures.mkdir()
    for file in (settings.pictures / ("A" * 64), settings.pictures / ("a" * 63), settings.pictures.parent / "secret"):
        file.write_text("secret")
    found = client.get(f"/pictures/{name}")
    assert found.status_code in {404, 422}
    assert set(found.json()) == {"error"}


def test_the_statistics_count_items_and_requests(filled: TestClient) -> None:
    for _ in range(3):
        filled.post("/search", json={"question": "a"})
    filled.get("/unknown")
    found = filled.get("/stats").json()
    assert (found["items"], found["encoder"], found["dim"], found["fields"]["year"]) == (3, "hashed", 16, "int")
    assert {kind: each["number"] for kind, each in found["requests"].items()} == {"search": 3, "upsert": 1, "other": 1}
    assert 0 < found["requests"]["search"]["p50_ms"] <= found["requests"]["search"]["p95_ms"]


def test_the_endpoints_are_described(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {
        *("/health", "/stats", "/search", "/ask", "/upsert", "/delete", "/pictures/{digest}"),
    }
    assert described["components"]["schemas"]["SearchRequest"]["properties"]["k"]["maximum"] == 100
    assert client.get("/health").json() == {"ready": True}


def test_the_store_is_optimized_after_many_writes(
    client: TestClient, assistant: HashedAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(assistant.store, "optimize", lambda: calls.append(assistant.store.count()))
    monkeypatch.setattr(work, "WRITES_UNTIL_OPTIMIZED", 3)
    for number in range(7):
        client.post("/upsert", json={"items": [{"id": str(number), "text": "a"}]})
    assert calls == [3, 6]
