"""LightningCLI as all apps use it: local loggers, atomic checkpoints, ``--resume``, configs by name."""

import json
import logging
import warnings
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import is_dataclass
from importlib.util import find_spec
from math import inf
from pathlib import Path
from shutil import rmtree
from signal import SIGINT
from types import NoneType, UnionType
from typing import Any, ClassVar, NoReturn, Union, get_args, get_origin, get_type_hints

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from mnemic_core.errors import UserError, check_range
from mnemic_kit.checkpoints import BestCheckpoint, LastCheckpoint, WholeFileIO
from mnemic_kit.configs import find_config, read_section
from mnemic_kit.interruption import Interrupted
from mnemic_kit.made_files import protecting
from mnemic_kit.quick_start import usual_collection
from mnemic_kit.run_folder import checkpoint_path, lock_folder

# Settings of the trainer that all apps have.
TRAINER_DEFAULTS: dict[str, Any] = {
    "num_sanity_val_steps": 0,  # it would evaluate complete sequences before the first step
    "reload_dataloaders_every_n_epochs": 1,  # batches change with the epoch
    "inference_mode": False,  # bf16 on a CPU is a hundred times slower with it
}


_SOURCES = {f"--data.{split}" for split in ("train", "val", "test")}


class AppCLI(LightningCLI):
    """Adds the checkpoints, loggers that need no network, and the seed that data and model share.

    Attributes:
        monitor: validation figure that chooses ``best.ckpt``.
        mode: ``max`` or ``min``, whichever is better.
        links: options that follow from other options: source, target and, where they differ, the conversion.
        checkpoints: callbacks that write to the folder of checkpoints: name of their options, and class.
    """

    monitor: ClassVar[str] = "val/loss"
    mode: ClassVar[str] = "min"
    links: ClassVar[Sequence[tuple[Any, ...]]] = ()
    checkpoints: ClassVar[Sequence[tuple[str, type[Callback]]]] = (
        ("last_checkpoint", LastCheckpoint),
        ("best_checkpoint", BestCheckpoint),
    )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the folder of the run be where checkpoints go."""
        parser.add_argument("--resume", action="store_true", help="continue the run in trainer.default_root_dir")
        for name, kind in self.checkpoints:
            parser.add_lightning_class_args(kind, name)
            parser.link_arguments(
                "trainer.default_root_dir", f"{name}.folder", lambda root: str(checkpoint_path(root or ".").parent)
            )
        parser.set_defaults({"best_checkpoint.monitor": self.monitor, "best_checkpoint.mode": self.mode})
        for link in (("seed_everything", "data.seed", int), ("seed_everything", "model.seed", int), *self.links):
            parser.link_arguments(*link)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Return a trainer that logs to CSV and, where installed, to TensorBoard; a config may choose others."""
        given = self._get(self.config_init, "trainer")
        if given["logger"] in (None, True):
            kwargs["logger"] = loggers(given["default_root_dir"] or ".")
        kwargs["plugins"] = [*(given["plugins"] or []), WholeFileIO()]
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (TypeError, ValueError) as error:  # of Lightning, about settings such as an unknown accelerator
            raise error if isinstance(error, UserError) else UserError(f"trainer: {error}") from error
        # Lightning fails in the first step at a 0, and climbs instead of descending below it.
        check_range(trainer, 1, inf, "accumulate_grad_batches")
        check_range(trainer, 0, inf, "gradient_clip_val")
        if trainer.val_check_interval == 0:
            raise UserError("val_check_interval must be above 0, got 0")
        return trainer

    def _set_seed(self) -> None:
        """Seed all generators of random numbers, with a number that they take."""
        seed = self._get(self.config, "seed_everything")
        if not isinstance(seed, bool) and not 0 <= seed < 2**32:
            raise UserError(f"seed_everything must be between 0 and {2**32 - 1}, got {seed}")
        super()._set_seed()

    def instantiate_classes(self) -> None:
        """Make trainer, model and data; the parser lets null pass where a setting has to have a value."""
        for name, kind in {"model": self._model_class, "data": self._datamodule_class}.items():
            refuse_null(kind, self._get(self.config, name) or {}, name)
        super().instantiate_classes()

    def _parse_ckpt_path(self) -> None:
        """Leave the checkpoint to `WholeFileIO`: Lightning would look for settings in it, which ours are without."""

    def fit(self, ckpt_path: str | None = None, **options: Any) -> None:
        """Train in a folder that no other training holds.

        Raises:
            UserError: there is nothing to resume, an earlier run would be replaced, or another fit is training there.
            Interrupted: a signal ended the training.
        """
        folder = Path(self.trainer.default_root_dir)
        last = checkpoint_path(folder)
        resumes = self.config["fit"]["resume"] or ckpt_path == "last"
        if resumes and not last.is_file():
            raise UserError(f"nothing to resume, {last} does not exist: leave out --resume to start a new run")
        with lock_folder(folder) if self.trainer.is_global_zero else nullcontext():
            start = str(last) if resumes else self._find_start(ckpt_path, last)
            self._check_saved_config(last)
            self.config["fit"]["resume"] = False  # the saved config, used again, starts a new run
            try:
                self.trainer.fit(ckpt_path=start, **options)
            except BaseException as failure:
                if resumes or not last.is_file():
                    self._remove_empty_logs()
                if isinstance(failure, SystemExit):
                    self._end(failure)
                raise

    def _remove_empty_logs(self) -> None:
        """Remove what this run logs to if it logged nothing: it failed before its first steps."""
        for logger in self.trainer.loggers:
            place = Path(logger.log_dir) if isinstance(logger, CSVLogger) else None
            if place is not None and place.is_dir() and not (place / "metrics.csv").exists():
                rmtree(place, ignore_errors=True)
                with suppress(OSError):  # those of other runs are there
                    place.parent.rmdir()

    def validate(self, ckpt_path: str | None = None, **options: Any) -> None:
        """Score a checkpoint on validation data."""
        self.trainer.validate(ckpt_path=self._find_trained(ckpt_path), **options)

    def test(self, ckpt_path: str | None = None, **options: Any) -> None:
        """Score a checkpoint on test data."""
        self.trainer.test(ckpt_path=self._find_trained(ckpt_path), **options)

    def predict(self, ckpt_path: str | None = None, **options: Any) -> None:
        """Write what a checkpoint predicts for test data, over no file that another program made."""
        with protecting(()):
            self.trainer.predict(ckpt_path=self._find_trained(ckpt_path), **options)

    def _find_start(self, given: str | None, last: Path) -> str | None:
        """Return the checkpoint that is given, unless a new run would write over files that are there."""
        if given is not None:
            given = str(self._find_trained(given))
            if Path(given).resolve().parent == last.resolve().parent:
                return given
        other = "give another --trainer.default_root_dir"
        if last.exists():
            raise UserError(f"{last} is of an earlier run: continue it with --resume, or {other}")
        for path in [last.with_stem("best"), *self._saved_config(last)]:
            if path.exists() and not (path.suffix == ".ckpt" and _is_of_killed_run(path)):
                raise UserError(f"{path} exists and was not made by this program; move it away, or {other}")
        return given

    def _saved_config(self, last: Path) -> list[Path]:
        """Return where Lightning saves the config: without a logger in the folder of the run itself."""
        return [] if self.trainer.loggers else [last.parents[1] / "config.yaml"]

    def _check_saved_config(self, last: Path) -> None:
        """Refuse to resume where a config is in the way that Lightning did not save, such as the one that is given."""
        for path in self._saved_config(last):
            if path.exists() and not path.read_bytes().startswith(b"# lightning.pytorch=="):
                raise UserError(f"{path} was not made by this program and would be written over; move it away")

    def _find_trained(self, given: str | None) -> Path:
        """Return the checkpoint to evaluate; scores of untrained weights mean nothing."""
        best = checkpoint_path(self.trainer.default_root_dir, "best")
        if given is None:
            raise UserError(f"which checkpoint? give one with --ckpt_path, such as --ckpt_path {best}")
        path = best.with_stem(given) if given in {"best", "last"} else Path(given)
        if not path.is_file():
            raise FileNotFoundError(f"no checkpoint at {path}")
        return path

    def _end(self, request: SystemExit) -> NoReturn:
        """Report what is saved when a signal has ended training; only the first process does.

        Raises:
            Interrupted: in the first process.
            SystemExit: in all others, without an error, upon which Lightning would kill the first.
        """
        is_early = isinstance(request.__context__, KeyboardInterrupt)  # Lightning makes it an exit of its own
        if not isinstance(request, Interrupted) and not is_early:
            raise request
        if not self.trainer.is_global_zero:
            raise SystemExit(0)
        last = checkpoint_path(self.trainer.default_root_dir)
        number = request.number if isinstance(request, Interrupted) else SIGINT
        raise Interrupted(number, last if last.is_file() else None)


def run_training(
    cli: type[AppCLI],
    task: type[LightningModule],
    data: type[LightningDataModule],
    program: str,
    arguments: list[str],
    configs: Path,
    trainer_defaults: dict[str, Any],
) -> AppCLI:
    """Run LightningCLI on the arguments, in which bare names of packaged configs are allowed.

    Args:
        cli: the app's command line.
        task: what is trained; its constructor is the schema of the options under ``model``.
        data: likewise under ``data``.
        program: what the user typed; the last word is fit, validate, test or predict.
        arguments: what follows it on the command line.
        configs: folder of the packaged configs.
        trainer_defaults: settings of the trainer that differ from Lightning's, `TRAINER_DEFAULTS` among them.

    Returns:
        The command line object after the run, with ``trainer``, ``model`` and ``datamodule``.
    """
    silence()
    usual_collection()
    command = program.split()[-1]
    only = {command: cli.subcommands()[command]}  # a parser takes long to make, and three would not be used
    run: AppCLI = type(cli.__name__, (cli,), {"subcommands": staticmethod(lambda: only)})(
        task,
        data,
        args=[command, *translate(arguments, configs)],
        seed_everything_default=0,  # reproducible without asking
        trainer_defaults=trainer_defaults,
        auto_configure_optimizers=False,  # tasks configure their own
        load_from_checkpoint_support=False,
        save_config_kwargs={"overwrite": True},  # a resumed run without loggers writes it again
        parser_kwargs={"exit_on_error": False, command: {"exit_on_error": False}},
    )
    return run


def _is_of_killed_run(path: Path) -> bool:
    """Return whether a file is a checkpoint of a run that was killed before its first ``last.ckpt``."""
    try:
        return bool(WholeFileIO().load_checkpoint(path))
    except UserError:
        return False


def translate(arguments: list[str], configs: Path) -> list[str]:
    """Return the arguments with packaged configs by their path, and the sources of data as lists.

    ``--data.train a.txt b.txt`` is ``--data.train=["a.txt", "b.txt"]``: the parser would take the lines of a file that
    is given alone for the list.

    Raises:
        FileNotFoundError: if there is neither a file nor a packaged config of that name.
        UserError: if a config is not YAML.
    """
    translated, words = [], deque(arguments)
    while words:
        word = words.popleft()
        key, equals, value = word.partition("=")
        if key in {"--config", "-c"}:
            path = find_config(value if equals else words.popleft() if words else "", configs)
            for split, sources in read_section(path, "data").items():  # refuses what the parser reports as a defect
                if f"--data.{split}" in _SOURCES and isinstance(sources, str):  # the parser would read that file
                    raise UserError(f"{path}: data.{split} is a list: write [{sources}]")
            translated.append(f"--config={path}")
        elif key in _SOURCES:
            values = [value] if equals else []
            while not equals and words and not words[0].startswith("--"):
                values.append(words.popleft())
            translated.append(f"{key}={_as_list(values)}" if values else word)
        else:
            translated.append(word)
    return translated


def _as_list(values: list[str]) -> str:
    """Return a YAML list of words, of which braces are YAML already; a single list or null as it is."""
    if len(values) == 1 and (values[0].startswith("[") or values[0] == "null"):
        return values[0]
    return f"[{', '.join(value if value.startswith('{') else json.dumps(value) for value in values)}]"


def refuse_null(kind: Any, given: Any, place: str) -> None:
    """Refuse null for settings that must have a value, also in nested ones.

    Args:
        kind: class that takes the settings.
        given: parsed settings by name.
        place: where they are, for the message.

    Raises:
        UserError: naming the first one.
    """
    for name, hint in get_type_hints(kind.__init__).items():
        if name not in given:
            continue
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if given[name] is None and not {NoneType, Any} & {*kinds}:
            raise UserError(f"{place}.{name} must have a value, got null")
        for nested in filter(is_dataclass, kinds):
            if given[name] is not None:
                refuse_null(nested, given[name], f"{place}.{name}")


def loggers(root: str) -> list[Logger]:
    """Return loggers that write to ``root/logs/version_N``, a new version for each start of a run."""
    # Flushed at every logged step: a killed run keeps its curve up to the end.
    csv = CSVLogger(root, "logs", flush_logs_every_n_steps=1)
    if find_spec("tensorboard") is None:
        return [csv]
    return [csv, TensorBoardLogger(root, "logs", csv.version)]


def silence() -> None:
    """Switch off advertisements and warnings about things that a user of this program cannot change."""
    for part in (
        "pytorch.utilities.rank_zero",
        "fabric.utilities.rank_zero",
        "fabric.utilities.seed",
        "pytorch.trainer.connectors.checkpoint_connector",
    ):
        logging.getLogger(f"lightning.{part}").addFilter(_is_news)
    for message in (
        ".*LeafSpec.*",
        "LightningCLI's args parameter.*",
        ".*does not have many workers.*",
        ".*in eval mode at the start of training.*",  # frozen batch norm
        ".*dirpath has changed from.*",  # stages of a comparison start from a shared one
        ".*Checkpoint directory .* exists and is not empty.*",  # that is where it resumes from
        ".*lr_scheduler.step.*before.*optimizer.step.*",
        ".*Total length of `list` across ranks is zero.*",  # training without validation
        ".*could not find the monitored key.*",  # likewise
        ".*deprecated in v4.*",  # how Lightning calls jsonargparse
        ".*Cannot dispatch to fused implementation.*",  # RMSNorm in mixed precision
    ):
        warnings.filterwarnings("ignore", message)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(words in record.getMessage() for words in ("Tip:", "Seed set to", "TPU available", "`weights_only`"))
