"""LightningCLI as every app uses it: loggers without network, whole checkpoints, ``--resume``, configs by name."""

import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from mnemic_core.errors import UserError
from mnemic_kit.checkpoints import BestCheckpoint, LastCheckpoint, WholeFileIO
from mnemic_kit.configs import find_config


class AppCLI(LightningCLI):
    """Adds the checkpoints, loggers that need no network, and the seed that data and model share.

    Attributes:
        monitor: validation figure that chooses ``best.ckpt``.
        mode: ``max`` or ``min``, whichever is better.
    """

    monitor: ClassVar[str] = "val/loss"
    mode: ClassVar[str] = "min"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the folder of the run be where checkpoints go."""
        parser.add_argument("--resume", action="store_true", help="continue the run in trainer.default_root_dir")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(BestCheckpoint, "best_checkpoint")
        parser.set_defaults({"best_checkpoint.monitor": self.monitor, "best_checkpoint.mode": self.mode})
        for name in ("last_checkpoint", "best_checkpoint"):
            parser.link_arguments("trainer.default_root_dir", f"{name}.folder", lambda root: f"{root}/checkpoints")
        for name in ("data.seed", "model.seed"):
            parser.link_arguments("seed_everything", name, int)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Return a trainer that logs to CSV and, where installed, to TensorBoard; a config may choose others."""
        given = self._get(self.config_init, "trainer")
        if given["logger"] in (None, True):
            kwargs["logger"] = loggers(given["default_root_dir"])
        kwargs["plugins"] = [*(given["plugins"] or []), WholeFileIO()]
        return super().instantiate_trainer(**kwargs)

    def fit(self, ckpt_path: str | None = None, **options: Any) -> None:
        """Train; resume only where there is a checkpoint, and start only where there is none."""
        given = self.config["fit"]
        last = Path(self.trainer.default_root_dir, "checkpoints", "last.ckpt")
        if given["resume"] or ckpt_path == "last":
            if not last.is_file():
                raise UserError(f"nothing to resume, {last} does not exist: leave out --resume to start a new run")
            given["resume"], ckpt_path = False, str(last)  # whoever uses the saved config starts another run
        elif ckpt_path is None and last.exists():
            raise UserError(
                f"{last} is of an earlier run: continue it with --resume, or give another --trainer.default_root_dir"
            )
        self.trainer.fit(ckpt_path=ckpt_path, **options)


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
        trainer_defaults: settings of the trainer that differ from Lightning's.

    Returns:
        The command line object after the run, with ``trainer``, ``model`` and ``datamodule``.
    """
    silence()
    command = program.split()[-1]
    only = {command: cli.subcommands()[command]}  # a parser takes long to make, and three would not be used
    run: AppCLI = type(cli.__name__, (cli,), {"subcommands": staticmethod(lambda: only)})(
        task,
        data,
        args=[command, *translate(arguments, configs)],
        seed_everything_default=0,
        trainer_defaults=trainer_defaults,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"exit_on_error": False, command: {"exit_on_error": False}},
    )
    return run


def fit_or_resume(train: Callable[[str, list[str]], AppCLI], arguments: list[str], folder: Path) -> AppCLI:
    """Train in a folder, or continue the training that an earlier call began there.

    Args:
        train: the ``main`` of an app's ``train`` module.
        arguments: options of fit, without the folder.
        folder: ``trainer.default_root_dir``; its ``checkpoints/last.ckpt`` is what an earlier call left.

    Returns:
        The command line object after the run, as of `run_training`.
    """
    resume = ["--resume"] if (folder / "checkpoints" / "last.ckpt").is_file() else []
    return train("fit", [*arguments, f"--trainer.default_root_dir={folder}", *resume])


def translate(arguments: list[str], configs: Path) -> list[str]:
    """Return the arguments with packaged configs by their path.

    Raises:
        FileNotFoundError: if there is neither a file nor a packaged config of that name.
    """
    translated: list[str] = []
    for word in arguments:
        key, _, value = word.partition("=")
        if key in {"--config", "-c"} and value:
            translated.append(f"--config={find_config(value, configs)}")
        elif translated and translated[-1] in {"--config", "-c"}:
            translated.append(str(find_config(word, configs)))
        else:
            translated.append(word)
    return translated


def loggers(root: str) -> list[Logger]:
    """Return loggers that write to ``root/logs/version_N``, a new version for every start of a run."""
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
        ".*dirpath has changed from.*",  # an ablation goes on from epochs that it shares
        ".*Checkpoint directory .* exists and is not empty.*",  # that is where it resumes from
        ".*lr_scheduler.step.*before.*optimizer.step.*",
        ".*Total length of `list` across ranks is zero.*",  # training without validation
        ".*could not find the monitored key.*",  # likewise
        ".*deprecated in v4.*",  # how Lightning calls jsonargparse
    ):
        warnings.filterwarnings("ignore", message)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(words in record.getMessage() for words in ("Tip:", "Seed set to", "TPU available", "`weights_only`"))
