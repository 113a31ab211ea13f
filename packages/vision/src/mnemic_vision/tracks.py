"""Output of trackers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Track:
    """One tracked object in one frame.

    Attributes:
        id: identity, the same in all frames of the object.
        label: class, from 0.
        score: confidence between 0 and 1.
        box: x and y of the top left corner, width and height, in pixels of the original image.

    Example:
        >>> Track(id=1, label=0, score=0.9, box=(10.0, 20.0, 30.0, 60.0)).center
        (25.0, 50.0)
    """

    id: int
    label: int
    score: float
    box: tuple[float, float, float, float]

    @property
    def center(self) -> tuple[float, float]:
        """Center of the box as (x, y) in pixels."""
        x, y, width, height = self.box
        return x + width / 2, y + height / 2
