"""A program with several commands: finds the command, reports mistakes in one line, imports nothing heavy."""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version

from mnemic_core.errors import UserError
from mnemic_kit.help_pages import show_page
from mnemic_kit.interruption import Interrupted
from mnemic_kit.output import show
from mnemic_kit.parse import call
from mnemic_kit.quick_start import rare_collection

USER_ERROR, INTERRUPTED, TERMINATED = 2, 130, 143
TRAINING = ("fit", "validate", "test", "predict")


@dataclass(frozen=True)
class Program:
    """A program and its commands.

    Attributes:
        name: what users type.
        description: what it is for, one sentence.
        commands: what each command does. It is the function of its name (``_`` for ``-``) in the module of its name in
            ``package``, see `mnemic_kit.parse`; the commands of training are all
            ``train.main(program_and_command, arguments)``.
        package: import name of the package with the modules of the commands. What computes is imported in the
            functions: their signatures and docstrings alone are the help.
    """

    name: str
    description: str
    commands: Mapping[str, str]
    package: str

    def main(self, argv: Sequence[str] | None = None) -> None:
        """Run one command and exit; the words are those of the process unless given."""
        given = list(sys.argv[1:] if argv is None else argv)
        debug = "--debug" in given or os.environ.get("MNEMIC_DEBUG") == "1"
        command, *arguments = [word for word in given if word != "--debug"] or ["--help"]
        try:
            self.run(command, arguments)
        except Interrupted as end:
            way = "continue it with --resume" if command == "fit" else "the same command continues it"
            way = "no state was saved, start again" if end.saved is None else f"{way} from {end.saved}"
            sys.exit(self._report(f"interrupted: {way}", 128 + end.number))
        except KeyboardInterrupt as end:  # with a text where something was kept
            sys.exit(self._report(": ".join(["interrupted", *map(str, end.args)]), INTERRUPTED))
        except SystemExit as request:
            if type(request).__name__ == "SIGTERMException":  # Lightning's, in an evaluation
                sys.exit(self._report("terminated", TERMINATED))
            sys.exit(request.code if isinstance(request.code, int) else USER_ERROR if request.code else 0)
        except Exception as error:
            if debug or not (_is_mistake(error) or _is_out_of_memory(error)):
                raise
            line = _advise_on_memory(arguments) if _is_out_of_memory(error) else " ".join(str(error).split())
            sys.exit(self._report(f"error: {line}", USER_ERROR))
        sys.exit(0)

    def run(self, command: str, arguments: list[str]) -> None:
        """Run a command; its module is imported only now, since torch and Lightning take seconds."""
        program = f"{self.name} {command}"
        if command in {"-h", "--help"}:
            show(self._overview())
        elif command == "--version":
            show(f"{self.name} {version(self.name)}")
        elif command not in self.commands:
            raise UserError(f"invalid choice: {command!r} is not a command; use one of {', '.join(self.commands)}")
        elif command not in TRAINING:
            with rare_collection():
                call(self.function(command), program, arguments)
        elif arguments in (["--help"], ["-h"]):
            show_page(program, lambda: self._train(program, arguments))
        else:
            self._train(program, arguments)

    def _train(self, program: str, arguments: list[str]) -> None:
        with rare_collection():
            module = import_module(f"{self.package}.train")
        module.main(program, arguments)

    def function(self, command: str) -> Callable[..., object]:
        """Return the function of a command that does not train."""
        name = command.replace("-", "_")
        function: Callable[..., object] = getattr(import_module(f"{self.package}.{name}"), name)
        return function

    def _report(self, line: str, code: int) -> int:
        sys.stderr.write(f"{self.name}: {line}\n")
        return code

    def _overview(self) -> str:
        width = max(map(len, self.commands), default=0)
        listing = [f"  {name:<{width}}  {text}" for name, text in self.commands.items()]
        usage = f"usage: {self.name} COMMAND [OPTIONS]\n\n{self.description}\n\ncommands:"
        end = (
            f"{self.name} COMMAND --help lists the options of a command; --debug shows the traceback of an error,\n"
            f"{self.name} --version the version."
        )
        return "\n".join([usage, *listing, "", end])


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether memory of the processor or of a GPU is exhausted; torch says it in several ways."""
    names = {kind.__name__ for kind in type(error).__mro__}
    said = isinstance(error, RuntimeError) and ("allocate memory" in str(error) or "out of memory" in str(error))
    return said or bool(names & {"MemoryError", "OutOfMemoryError"})


def _advise_on_memory(arguments: Sequence[str]) -> str:
    """Return a line that names the options with numbers, on which the need of memory depends."""
    words = " ".join(arguments)
    given = re.findall(r"--[\w.-]+[= ]\d[\d_.]*(?= |$)", words)
    remedy = f"give smaller numbers than {', '.join(given)}" if given else "give smaller sizes, such as a smaller batch"
    return f"there is not enough memory for this: {remedy}, or use a machine with more"


def _is_mistake(error: Exception) -> bool:
    """Return whether an error is wrong input and no defect: our own checks raise `UserError`, the system `OSError`."""
    names = {kind.__name__ for kind in type(error).__mro__}
    # By name, since their modules are slow to import: errors of jsonargparse, and of Lightning about a wrong setting.
    return isinstance(error, (UserError, OSError)) or bool(names & {"ArgumentError", "MisconfigurationException"})
