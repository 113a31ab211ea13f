"""Check mechanisms against the memory contract: ``python -m mnemic_core.testing [NAME ...]`` prints the matrix."""

import argparse
import sys
from collections.abc import Sequence

from mnemic_core.catalogue import list_mechanisms
from mnemic_core.testing.matrix import CONTRACT_FAMILIES, KEPT, check_mechanism, matrix_table


def main(argv: Sequence[str] | None = None) -> None:
    """Run the checks for the named mechanisms, by default all."""
    known = [mechanism.name for mechanism in list_mechanisms() if mechanism.is_recurrent]
    parser = argparse.ArgumentParser(prog="python -m mnemic_core.testing", description=CONTRACT_FAMILIES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"mechanisms to check: {', '.join(known)}")
    names = parser.parse_args(argv).names or known
    unknown = sorted(set(names) - set(known))
    if unknown:
        parser.error(f"no mechanism with a state is called {', '.join(unknown)}")
    results = {name: check_mechanism(name) for name in names}
    sys.stdout.write(matrix_table(results) + "\n")
    failures = [
        f"{name}, rule {rule}: {cell}\n" for name, row in results.items() for rule, cell in row.items() if cell != KEPT
    ]
    sys.stdout.writelines(failures)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
