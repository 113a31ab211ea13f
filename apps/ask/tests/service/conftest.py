"""A server without a network, and one whose network stands still until it is let go."""

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hashed_assistant import HashedAssistant, HeldAssistant, served
from PIL import Image

from mnemic_ask.service.settings import ServerSettings


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(tmp_path / "pictures")


@pytest.fixture
def assistant() -> HashedAssistant:
    return HashedAssistant()


@pytest.fixture
def client(assistant: HashedAssistant, settings: ServerSettings) -> Iterator[TestClient]:
    with served(assistant, settings) as client:
        yield client


@pytest.fixture
def held() -> HeldAssistant:
    return HeldAssistant()


@pytest.fixture
def picture() -> bytes:
    """A small PNG."""
    file = BytesIO()
    Image.new("RGB", (8, 6), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def encoded(picture: bytes) -> str:
    """The PNG in base64."""
    return base64.b64encode(picture).decode()
