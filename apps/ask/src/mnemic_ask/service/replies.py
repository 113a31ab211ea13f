"""What clients get: JSON."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mnemic_kit.output import dumps
from mnemic_retrieval.murag.answers import Answer, Citation
from mnemic_retrieval.store import Hit

if TYPE_CHECKING:
    import starlette.responses

RETRY_SECONDS = 1
LONGEST_MESSAGE = 500


def reply(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> "starlette.responses.Response":
    """Return a response with JSON."""
    from starlette.responses import Response

    # Texts of a memory may hold what UTF-8 does not have.
    return Response(dumps(content).encode("utf-8", "replace"), status, headers, "application/json")


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> "starlette.responses.Response":
    """Return a response with an error in one line, and when to come again if that helps."""
    given = dict(headers or {}) | ({"Retry-After": str(RETRY_SECONDS)} if status == 503 else {})
    return reply({"error": " ".join(message.split())[:LONGEST_MESSAGE]}, status, given)


def found(hit: Hit | Citation) -> dict[str, Any]:
    """Return an item and its score as JSON; the picture is named by its hash, its path concerns nobody."""
    item = hit.item
    return {
        "score": hit.score,
        "id": item.id,
        "modality": item.modality,
        "text": item.text,
        "picture": item.image_hash,
        "metadata": dict(item.metadata),
        "version": item.version,
    }


def answered(answer: Answer) -> dict[str, Any]:
    """Return an answer and its sources as JSON."""
    sources = [found(citation) | {"region": citation.region} for citation in answer.citations]
    return {
        "answer": answer.text,
        "is_sure": answer.is_sure,
        "sources": sources,
        "seconds": dict(answer.seconds),
    }
