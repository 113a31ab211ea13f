"""Neighbors of questions that another retriever found, as PAQ's are found by RePAQ."""

from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.tensor_file import check_file


def read_neighbors(path: str | Path, num_questions: int, num_pairs: int) -> Int[Tensor, "question neighbor"]:
    """Return the numbers of each question's neighbors among the pairs of the memory, as 32-bit numbers.

    Args:
        path: file with one line a question, numbers from 0 with spaces or commas between them, equally many in all.
        num_questions: lines that it must have.
        num_pairs: pairs of the memory.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is of another form, or of other questions.
    """
    check_file(path)
    rows: list[Tensor] = []
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = torch.tensor([int(word) for word in line.strip(b"[] \n").replace(b",", b" ").split()])
            except ValueError as error:
                raise UserError(f"{path}, line {number}: expected numbers of pairs ({error})") from error
            if not len(row) or len(row) != len(rows[0] if rows else row):
                raise UserError(f"{path}, line {number} has {len(row)} neighbors: expected as many in every line")
            if not 0 <= int(row.min()) <= int(row.max()) < num_pairs:
                raise UserError(f"{path}, line {number}: numbers must be from 0 to {num_pairs - 1}")
            rows.append(row.int())
    if len(rows) != num_questions:
        raise UserError(f"{path} has neighbors of {len(rows)} questions, expected {num_questions}, those of training")
    return torch.stack(rows)
