"""Whatever is sent, the server answers with JSON and without an error of its own."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hashed_assistant import HashedAssistant, served
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic_ask.service.settings import ServerSettings
from mnemic_core.testing import unchecked_annotations

PIXEL = "R0lGODdhAQABAIAAAP///////ywAAAAAAQABAAACAkQBADs="
LETTERS = st.characters(exclude_categories=())  # halves of surrogate pairs and zero bytes too
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(LETTERS, max_size=9),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(LETTERS, max_size=5), part, max_size=3),
    max_leaves=8,
)
TEXT = st.text(LETTERS, max_size=9)
IMAGE = st.sampled_from([PIXEL, PIXEL[:20], PIXEL[:-4] + "AAAA", "aGVsbG8=", "a", "../a.png", "/etc/passwd"])
FIELD = st.sampled_from(["year", "place", "tags", "id", "version", "text", "x"])
VALUE = st.sampled_from(["1", "1.5", "1e999", "-3", "'a'", "'\\ud800'", "'\\0'", "None", "True", "[1]", "b'a'", "1j"])
OPERATOR = st.sampled_from(["==", "!=", "<", ">=", "in", "not in", "is", "is not", "+"])
COMPARISON = st.tuples(FIELD, OPERATOR, VALUE).map(" ".join) | st.tuples(VALUE, OPERATOR, FIELD).map(" ".join)
WHERE = COMPARISON | st.tuples(COMPARISON, st.sampled_from(["and", "or", "and not"]), COMPARISON).map(" ".join) | TEXT
METADATA = st.dictionaries(FIELD | TEXT, ANY, max_size=3)
ITEM = st.fixed_dictionaries({"id": TEXT}, optional={"text": TEXT, "image": IMAGE, "metadata": METADATA})
ASKED: dict[str, Any] = {"image": IMAGE, "where": WHERE}
REQUESTS: dict[str, Any] = {
    "/search": st.fixed_dictionaries({"question": TEXT}, optional=ASKED | {"k": st.integers(-1, 102)}),
    "/ask": st.fixed_dictionaries({"question": TEXT}, optional=ASKED),
    "/upsert": st.fixed_dictionaries({"items": st.lists(ITEM, max_size=3)}),
    "/delete": st.fixed_dictionaries({"ids": st.lists(TEXT, max_size=3)}),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    limits = ServerSettings(tmp_path_factory.mktemp("kept") / "pictures")
    # A filter may name values of types that its class does not declare; the memory refuses them.
    with unchecked_annotations(), served(HashedAssistant(), limits) as client:
        yield client


@st.composite
def spoiled(draw: st.DrawFn, request: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A request that is nearly right: one field is replaced or added."""
    found = draw(request)
    return found | {draw(st.sampled_from([*found, "other"])): draw(ANY)}


def check(found: Any) -> None:
    assert found.status_code < 500, found.text
    assert "error" not in found.json() or set(found.json()) == {"error"}
    assert (found.status_code == 200) == ("error" not in found.json())


@pytest.mark.parametrize("path", REQUESTS)
def test_any_json_is_answered(kept: TestClient, path: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(REQUESTS[path] | spoiled(REQUESTS[path]) | ANY)
    def send(request: Any) -> None:
        body = json.dumps(request).encode()
        check(kept.post(path, content=body, headers={"Content-Type": "application/json"}))

    send()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([*REQUESTS, "/stats"]), st.binary(max_size=30), st.sampled_from(["application/json", "text/html"])
)
def test_any_bytes_are_answered(kept: TestClient, path: str, body: bytes, kind: str) -> None:
    check(kept.post(path, content=body, headers={"Content-Type": kind}))


@settings(max_examples=40, deadline=None)
@given(st.text("0123456789abcdef./%~\\\0ä", max_size=70))
def test_any_name_of_a_picture_is_answered(kept: TestClient, name: str) -> None:
    found = kept.get("/pictures/" + "".join(f"%{byte:02x}" for byte in name.encode()))
    assert found.status_code in {404, 422}
    assert set(found.json()) == {"error"}
