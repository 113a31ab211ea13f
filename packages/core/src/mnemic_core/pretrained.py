"""Models saved as a folder with weights and a readable configuration."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import nn

from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError
from mnemic_core.loading import load_exactly
from mnemic_core.temporary_files import replacing
from mnemic_core.tensor_file import check_file, read_tensors, write_tensors

Model = TypeVar("Model", bound="PretrainedModel")

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class PretrainedModel(nn.Module):
    """Base of models that are built from one configuration.

    Attributes:
        config_class: frozen dataclass of the configuration.
        config: configuration of this model.

    Example:
        >>> import tempfile
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     dim: int = 2
        >>> class Projection(PretrainedModel):
        ...     config_class = Config
        ...     def __init__(self, config: Config) -> None:
        ...         super().__init__()
        ...         self.config = config
        ...         self.linear = nn.Linear(config.dim, config.dim)
        >>> folder = tempfile.mkdtemp()
        >>> Projection(Config(dim=3)).save_pretrained(folder)
        >>> Projection.from_pretrained(folder).config
        Config(dim=3)
    """

    config_class: ClassVar[type[Any]]
    config: Any

    @classmethod
    def from_config(cls: type[Model], config: Any) -> Model:
        """Return an untrained model."""
        return cls(config)

    @classmethod
    def model_name(cls) -> str:
        """Return the model's name in files: that of the class which defines ``config_class``."""
        return next(base.__name__ for base in cls.__mro__ if "config_class" in vars(base))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``config.json`` to a folder, created if absent."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = {"model": self.model_name(), "config": asdict(self.config)}
        write_tensors(folder / WEIGHTS, self.state_dict())
        with replacing(folder / CONFIG) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls: type[Model], folder: str | Path) -> Model:
        """Return the model that `save_pretrained` wrote, in evaluation mode.

        Raises:
            FileNotFoundError: if a file is missing.
            UserError: if the folder holds another model, or configuration and weights do not match exactly.
        """
        path = Path(folder) / CONFIG
        check_file(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is not JSON ({error}): save the model again") from error
        found = content.get("model") if isinstance(content, dict) else None
        if found != cls.model_name():
            raise UserError(
                f"{path} is of the model {found!r}, expected {cls.model_name()}: load it with its own class"
            )
        model: Model = cls.from_config(deserialize(cls.config_class, content.get("config"), path, "config"))
        load_exactly(model, read_tensors(Path(folder) / WEIGHTS)[0], Path(folder) / WEIGHTS)
        return model.eval()
