"""What the endpoints refuse, always as JSON with one line."""

import base64
import dataclasses
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hashed_assistant import HashedAssistant, served
from PIL import Image

from mnemic_ask.service.settings import MAX_FILTER, MAX_ID, MAX_IDS, MAX_ITEMS, MAX_TEXT, ServerSettings
from mnemic_core.errors import UserError
from mnemic_retrieval.store import ExactStore, StoreSettings

PIXELS = BytesIO()
Image.new("1", (5000, 4000)).save(PIXELS, "PNG")
LARGE = base64.b64encode(PIXELS.getvalue()).decode()
JSON = {"Content-Type": "application/json"}


def item(**given: Any) -> dict[str, Any]:
    return {"items": [{"id": "a", "text": "b"} | given]}


def refused(client: TestClient, path: str, body: object, headers: dict[str, str] = JSON) -> tuple[int, str]:
    """Return status and error."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = client.post(path, content=content, headers=headers)
    assert set(found.json()) == {"error"}
    assert "\n" not in found.json()["error"]
    return found.status_code, found.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/search", {}, 422, "question: Field required"),
        ("/search", {"question": "a", "path": "/etc"}, 422, "path: Unexpected keyword argument"),
        ("/search", {"question": ""}, 422, "question: String should have at least 1 character"),
        ("/search", {"question": "a" * (MAX_TEXT + 1)}, 422, "question: String should have at most"),
        ("/search", {"question": "a\ud800"}, 422, "question: Input should be a valid string"),
        ("/search", {"question": "a", "k\ud800": 1}, 422, "valid string"),
        ("/search", {"question": "a", "k": 0}, 422, "k: Input should be greater than or equal to 1"),
        ("/search", {"question": "a", "k": 101}, 422, "k: Input should be less than or equal to 100"),
        ("/search", {"question": "a", "k": "3"}, 422, "k: Input should be a valid integer"),
        ("/search", {"question": "a", "k": True}, 422, "k: Input should be a valid integer"),
        ("/search", {"question": "a", "k": float("nan")}, 422, "k: Input should be a valid integer"),
        ("/search", {"question": "a", "k": 10**400}, 422, "k: Input should be"),
        ("/search", {"question": "a", "where": "year =="}, 400, "the filter 'year ==' is no expression"),
        ("/search", {"question": "a", "where": "size == 1"}, 400, "no field 'size' to filter by"),
        ("/search", {"question": "a", "where": "year == 'x'"}, 400, "'year' is of type int"),
        ("/search", {"question": "a", "where": "year == 0x" + "f" * 2900}, 400, "'year' is of type int"),
        ("/search", {"question": "a", "where": "place == '\\ud800'"}, 400, "half of a surrogate pair"),
        ("/search", {"question": "a", "where": "place == '\0'"}, 400, "null bytes"),
        ("/search", {"question": "a", "where": "not " * 50 + "year == 1"}, 400, "the filter may have 16 levels"),
        ("/search", {"question": "a", "where": "not " * 700 + "year == 1"}, 400, "the filter"),
        ("/search", {"question": "a", "where": "a" * (MAX_FILTER + 1)}, 422, "where: String should have at most"),
        ("/search", {"question": "a", "image": "no base64"}, 400, "the image is not in base64"),
        ("/search", {"question": "a", "image": "ä"}, 400, "the image is not in base64"),
        ("/ask", {"question": "a", "image": "aaaa"}, 400, "the picture is no picture of a known format"),
        ("/ask", {"question": "a", "image": LARGE}, 400, "5000 x 4000 pixels, more than 16000000"),
        ("/ask", {"question": "a", "k": 1}, 422, "k: Unexpected keyword argument"),
        ("/upsert", {"items": []}, 422, "items: List should have at least 1 item"),
        ("/upsert", {"items": [{"id": str(n), "text": "a"} for n in range(MAX_ITEMS + 1)]}, 422, "items: List should"),
        ("/upsert", {"items": [*item()["items"], *item()["items"]]}, 422, "an id is there twice"),
        ("/upsert", item(id=""), 422, "items.0.id: String should have at least 1"),
        ("/upsert", item(id="a" * (MAX_ID + 1)), 422, "items.0.id: String should have at most"),
        ("/upsert", item(id="a\0"), 400, "id of 'a\\x00' must be of type str"),
        ("/upsert", item(text=""), 422, "items.0: an item needs a text, an image or both"),
        ("/upsert", item(text=3), 422, "items.0.text: Input should be a valid string"),
        ("/upsert", item(image="/etc/passwd"), 400, "the image is not in base64"),
        ("/upsert", item(image="../x.png"), 400, "the image is not in base64"),
        ("/upsert", item(image=LARGE), 400, "more than 16000000"),
        ("/upsert", item(metadata=[1]), 422, "items.0.metadata: Input should be a valid dictionary"),
        ("/upsert", item(metadata={"year": "old"}), 400, "year of 'a' must be of type int"),
        ("/upsert", item(metadata={"year": 10**30}), 400, "year of 'a' must be of type int"),
        ("/upsert", item(metadata={"x": float("inf")}), 422, "metadata must have finite numbers"),
        ("/upsert", item(metadata={"x": [{"y\udfff": 1}]}), 422, "half of a surrogate pair"),
        ("/delete", {"ids": "a"}, 422, "ids: Input should be a valid list"),
        ("/delete", {"ids": ["a"] * (MAX_IDS + 1)}, 422, "ids: List should have at most"),
        ("/delete", {"ids": [None, 1]}, 422, "ids.0: Input should be a valid string (and 1 more)"),
        ("/ask", [], 422, "the request must be an object of JSON"),
        ("/ask", b"", 422, "the request: Field required"),
        ("/ask", b'{"question": "a"', 422, "the request is no JSON"),
        ("/ask", b'{"question": "\xff"}', 400, "error parsing the body"),
        ("/upsert", b"[" * 100_000, 400, "error parsing the body"),
        ("/search", b'{"question": "a", "k": ' + b"1" * 5000 + b"}", 400, "error parsing the body"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_requests_are_refused(client: TestClient, path: str, body: object, status: int, message: str) -> None:
    found = refused(client, path, body)
    assert found[0] == status
    assert message in found[1]


def test_deep_metadata_is_refused(client: TestClient) -> None:
    body = b'{"items": [{"id": "a", "text": "b", "metadata": {"x": ' + b"[" * 300 + b"]" * 300 + b"}}]}"
    assert refused(client, "/upsert", body) == (422, "items.0: metadata may have 16 levels at most")


def test_json_must_be_declared(client: TestClient) -> None:
    for given in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        status, message = refused(client, "/delete", {"ids": ["a"]}, {"Content-Type": given} if given else {})
        assert (status, "Content-Type: application/json" in message) == (422, True)


def test_other_paths_and_methods_are_refused_as_json(client: TestClient) -> None:
    found = [
        client.get("/"),
        client.get("/search"),
        client.post("/search/"),
        client.put("/health"),
        client.get("/docs"),
    ]
    assert [each.status_code for each in found] == [404, 405, 404, 405, 404]
    assert all(set(each.json()) == {"error"} for each in found)


def test_nothing_is_kept_of_items_of_which_one_is_wrong(
    client: TestClient, settings: ServerSettings, encoded: str
) -> None:
    good = {"id": "a", "image": encoded}
    assert refused(client, "/upsert", {"items": [good, {"id": "b", "image": "aaaa"}]})[0] == 400
    assert refused(client, "/upsert", {"items": [good, {"id": "b", "text": "c", "metadata": {"year": []}}]})[0] == 400
    assert client.get("/stats").json()["items"] == 0


def test_large_requests_are_refused_also_without_a_length(settings: ServerSettings) -> None:
    small = dataclasses.replace(settings, max_bytes=1000)
    with served(HashedAssistant(), small) as client:
        body = json.dumps({"question": "a" * 1000}).encode()
        chunks = (body[start : start + 100] for start in range(0, len(body), 100))
        for found in (
            client.post("/ask", content=body, headers=JSON),
            client.post("/ask", content=chunks, headers=JSON),
        ):
            assert (found.status_code, found.json()) == (413, {"error": "a request may have 1000 bytes at most"})
        assert client.post("/ask", json={"question": "a" * 900}).status_code == 200


def test_a_token_is_wanted_for_everything_but_health(settings: ServerSettings) -> None:
    with served(HashedAssistant(), dataclasses.replace(settings, token="gehäim")) as client:
        right = {"Authorization": "Bearer gehäim".encode()}
        for headers in ({}, {"Authorization": "Bearer geheim"}, {"Authorization": "gehäim".encode()}):
            found = client.get("/stats", headers=headers)
            assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer")
            assert client.post("/ask", json={"question": "a"}, headers=headers).status_code == 401
        assert client.get("/stats", headers=right).status_code == 200
        assert client.get("/health").status_code == 200


def test_an_empty_token_and_limits_without_sense_are_refused() -> None:
    for wrong in ({"token": ""}, {"timeout": 0.0}, {"timeout": float("nan")}, {"port": 65536}, {"max_waiting": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            ServerSettings(Path("pictures"), **wrong)  # type: ignore[arg-type]


class LostStore(ExactStore):
    """A memory that fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(StoreSettings(16))
        self.error = error

    def refresh(self) -> None:
        raise self.error


def lost(cause: str) -> UserError:
    """Return what a store makes of an error of a database."""
    error = UserError("database 'main' at secret-host: gone")
    error.__cause__ = type(cause, (Exception,), {})()
    return error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OSError(5, "disk", "/secret/path"), 503, "the memory cannot be reached: try again later"),
        (ConnectionResetError(), 503, "the memory cannot be reached: try again later"),
        (RuntimeError("lance error: Not found: /secret/path"), 503, "the memory cannot be reached: try again later"),
        (lost("OperationalError"), 503, "the memory cannot be reached: try again later"),
        (lost("DataError"), 400, "database 'main' at secret-host: gone"),
        (UserError("two\nlines"), 400, "two lines"),
        (RuntimeError("secret"), 500, "the server failed, see its log"),
        (KeyError("secret"), 500, "the server failed, see its log"),
    ],
    ids=repr,
)
def test_errors_of_the_memory_are_told_apart(
    settings: ServerSettings, error: Exception, status: int, message: str
) -> None:
    with served(HashedAssistant(LostStore(error)), settings) as client:
        found = client.post("/search", json={"question": "a"})
        assert (found.status_code, found.json()) == (status, {"error": message})
        assert found.headers.get("retry-after") == ("1" if status == 503 else None)
