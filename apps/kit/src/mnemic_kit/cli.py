"""One program with several commands: finds the command, turns mistakes into one line, imports nothing heavy itself."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.help_pages import show_page
from mnemic_kit.interruption import Interrupted
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
        """Run one command and exit.

        Args:
            argv: command and its arguments; None: those of the process.
        """
        given = list(sys.argv[1:] if argv is None else argv)
        debug = "--debug" in given or os.environ.get("MNEMIC_DEBUG") == "1"
        given = [word for word in given if word != "--debug"]
        if not given or given[0] not in self.commands:
            sys.exit(self._guarded(lambda: self._explain(given or ["--help"]), debug))
        try:
            code = self._guarded(lambda: self.run(given[0], given[1:]), debug)
        except Interrupted as end:
            way = "continue it with --resume" if given[0] == "fit" else "the same command continues it"
            way = "no state was saved, start again" if end.saved is None else f"{way} from {end.saved}"
            code = self._report(f"interrupted: {way}", 128 + end.number)
        sys.exit(code)

    def run(self, command: str, arguments: list[str]) -> None:
        """Run a command; its module is imported only now, since torch and Lightning take seconds."""
        program = f"{self.name} {command}"
        if command not in TRAINING:
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

    def _guarded(self, run: Callable[[], None], debug: bool) -> int:
        """Return the exit code; a mistake of the user is one line on standard error."""
        if debug:
            run()
            return 0
        try:
            run()
        except KeyboardInterrupt:
            return self._report("interrupted", INTERRUPTED)
        except Interrupted:
            raise
        except SystemExit as request:
            if type(request).__name__ == "SIGTERMException":  # Lightning's, in an evaluation
                return self._report("terminated", TERMINATED)
            return request.code if isinstance(request.code, int) else USER_ERROR if request.code else 0
        except Exception as error:  # sorted here: what is no mistake of the user is raised again
            if not _is_mistake(error):
                raise
            return self._report(f"error: {' '.join(str(error).split())}", USER_ERROR)
        return 0

    def _report(self, line: str, code: int) -> int:
        sys.stderr.write(f"{self.name}: {line}\n")
        return code

    def _explain(self, words: list[str]) -> None:
        """Answer what is no command: help, or what is wrong."""
        width = max(map(len, self.commands))
        listing = "\n".join(f"  {name:<{width}}  {text}" for name, text in self.commands.items())
        parser = argparse.ArgumentParser(
            prog=self.name,
            description=self.description,
            epilog=f"commands:\n{listing}\n\n{self.name} COMMAND --help tells the options of each.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            exit_on_error=False,
        )
        parser.add_argument("command", choices=list(self.commands), metavar="COMMAND", help="one of the commands below")
        parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
        parser.parse_args(words)


def find_programs(workspace: Path) -> dict[str, Program]:
    """Return the programs of a workspace by name: of every app the ``PROGRAM`` in its ``cli.py``.

    Args:
        workspace: folder with ``apps``, which are importable.
    """
    packages = sorted(path.parent.name for path in workspace.glob("apps/*/src/*/cli.py"))
    modules = [import_module(f"{package}.cli") for package in packages]
    programs: list[Program] = [module.PROGRAM for module in modules if hasattr(module, "PROGRAM")]
    return {program.name: program for program in programs}


def _is_mistake(error: Exception) -> bool:
    """Tell wrong input from a defect of the program: our own checks raise `UserError`, the system `OSError`."""
    names = {kind.__name__ for kind in type(error).__mro__}
    # By name, since their modules are slow to import: jsonargparse's errors, and Lightning's of a wrong setting.
    return isinstance(error, (UserError, OSError)) or bool(names & {"ArgumentError", "MisconfigurationException"})
