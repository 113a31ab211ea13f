"""Command line ``mnemic-track``: finds the command and turns mistakes into one line; imports nothing heavy itself."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

COMMANDS = {
    "run": "track a video, an image folder or a camera; write mp4, MOT text and JSON lines",
    "evaluate": "score a checkpoint, or the plain overlap tracker, on sequences with ground truth",
    "demo": "generate a sequence, track it with the shipped checkpoint and show what its memory did",
    "fit": "train from a config, such as: fit --config memotr_generated",
    "validate": "score a checkpoint on the validation data of a config",
    "test": "score a checkpoint on the test data of a config",
    "predict": "write result files for the test data of a config",
    "ablate": "train each memory with several seeds on the same budget and compare",
    "generate": "write generated sequences with ground truth as MOT folders",
    "convert": "turn an official MeMOTR checkpoint into one of ours",
}
USER_ERROR, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        argv: command and its arguments; None: those of the process.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in given or os.environ.get("MNEMIC_DEBUG") == "1"
    given = [word for word in given if word != "--debug"]
    if not given or given[0] not in COMMANDS:
        sys.exit(_guarded(lambda: _parse(given or ["--help"]), debug))
    sys.exit(_guarded(lambda: _run(given[0], given[1:]), debug))


def _run(command: str, arguments: list[str]) -> None:
    """Import late: torch and Lightning take seconds."""
    module = "train" if command in {"fit", "validate", "test", "predict"} else command
    main: Callable[[str, list[str]], None] = import_module(f"mnemic_track.commands.{module}").main
    main(command, arguments)


def _guarded(run: Callable[[], None], debug: bool) -> int:
    """Return the exit code; a mistake of the user is one line on standard error."""
    if debug:
        run()
        return 0
    try:
        run()
    except KeyboardInterrupt:
        return _report("interrupted", INTERRUPTED)
    except SystemExit as request:
        # Lightning turns Ctrl-C into an exit of its own.
        if isinstance(request.__context__, KeyboardInterrupt):
            return _report("interrupted; continue with fit --resume", INTERRUPTED)
        return request.code if isinstance(request.code, int) else USER_ERROR if request.code else 0
    except Exception as error:  # sorted here: what is no mistake of the user is raised again
        if not _is_mistake(error):
            raise
        return _report(f"error: {' '.join(str(error).split())}", USER_ERROR)
    return 0


def _is_mistake(error: Exception) -> bool:
    """Tell wrong input from a defect of the program; our own checks raise exactly these."""
    names = {kind.__name__ for kind in type(error).__mro__}
    kinds = (ValueError, OSError, ModuleNotFoundError)
    # By name, since their modules are slow to import: jsonargparse's errors, and Lightning's of a wrong setting.
    return isinstance(error, kinds) or bool(names & {"ArgumentError", "MisconfigurationException"})


def _report(line: str, code: int) -> int:
    sys.stderr.write(f"mnemic-track: {line}\n")
    return code


def _parse(words: list[str]) -> None:
    """Answer what is no command: help, or what is wrong."""
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="mnemic-track",
        description="Train, evaluate and run multi-object trackers with memory.",
        epilog=f"commands:\n{listing}\n\nmnemic-track COMMAND --help tells the options of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        exit_on_error=False,
    )
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="one of the commands below")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    parser.parse_args(words)


if __name__ == "__main__":
    main()
