"""One training of a comparison: what it is made of, and the file that keeps its scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mnemic_core.errors import UserError
from mnemic_kit.record import Record
from mnemic_kit.run_folder import checkpoint_path, fit_or_resume

Scores: TypeAlias = Mapping[str, Mapping[str, float]]  # by condition, such as a test set, and by metric

RUN, STAGE = "run.json", "stage.json"


@dataclass(frozen=True)
class Variant:
    """One of the things that are compared.

    Args:
        name: row of the table.
        options: options of ``fit`` that make it.
        note: what a reader of its scores must know; the table shows it as a footnote.
    """

    name: str
    options: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Run:
    """One variant with one seed.

    Args:
        variant: what is trained.
        seed: of weights and data.
        folder: of checkpoints, logs and scores.
        config: config of the training; None if it has none.
        options: options of ``fit`` that all variants share.
        settings: what else the scores depend on.
        file: name of the file that keeps settings and scores; a run in the table of its comparison has `RUN`.
    """

    variant: Variant
    seed: int
    folder: Path
    config: Path | None
    options: tuple[str, ...]
    settings: Mapping[str, Any]
    file: str = RUN

    @property
    def record(self) -> Record:
        """The file with the scores, and with what made them."""
        made = {"variant": self.variant.name, "variant_options": self.variant.options, "seed": self.seed}
        return Record(self.folder / self.file, {**self.settings, **made})

    @property
    def checkpoint(self) -> Path:
        """The last state of the training."""
        return checkpoint_path(self.folder)

    def arguments(self, *stage: str) -> list[str]:
        """Return the options of ``fit`` without the folder; later ones win: config, stage, shared options, variant."""
        config = [] if self.config is None else [f"--config={self.config}"]
        return [*config, f"--seed_everything={self.seed}", *stage, *self.options, *self.variant.options]

    def fit(self, main: Callable[[str, list[str]], Any], *stage: str) -> Any:
        """Train with the ``main`` of the app's training commands, or resume; a finished training is only opened.

        Returns:
            What ``main`` returns, see `mnemic_kit.run_folder.fit_or_resume`.
        """
        self.keep(self.scores())
        return fit_or_resume(main, self.arguments(*stage), self.folder)

    def scores(self) -> dict[str, dict[str, float]]:
        """Return the scores found so far, by condition.

        Raises:
            UserError: if the folder holds a run with other settings.
        """
        content = self.record.read()
        if content is None and self.folder.is_dir() and any(self.folder.iterdir()):
            raise UserError(f"{self.folder} holds a run whose settings are not known; give another --out")
        scores = (content or {}).get("scores", {})
        return {
            condition: {name: float("nan") if value is None else value for name, value in metrics.items()}
            for condition, metrics in scores.items()
        }

    def keep(self, scores: Scores) -> None:
        """Write the scores; without any, the file still identifies the run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record.write({"note": self.variant.note, "scores": scores})


def split_options(options: Sequence[str], variant: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the options of ``fit`` that all variants share, and those that begin with the name of this one.

    Example:
        >>> split_options(["--a=1", "window:--b=2", "none:--c=3"], "window")
        (('--a=1',), ('--b=2',))
    """
    shared = tuple(option for option in options if option.startswith("-"))
    prefix = f"{variant}:"
    return shared, tuple(option.removeprefix(prefix) for option in options if option.startswith(prefix))
