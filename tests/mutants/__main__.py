"""``python -m tests.mutants [NAME ...]``: try mutants with every test that should notice them; 1 if one survives."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.mutants import StaleMutantError, Workshop
from tests.mutants.catalogue import MUTANTS


def main(names: list[str]) -> int:
    unknown = set(names) - {m.name for m in MUTANTS}
    if unknown:
        print(f"error: no mutant is called {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [m for m in MUTANTS if not names or m.name in names]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="leadstream-mutants-") as folder:
        workshop = Workshop(Path(folder))
        try:
            if not workshop.passes(sorted({test for m in chosen for test in m.tests})):
                print("error: the tests fail on the program as it is; mend that first", file=sys.stderr)
                return 2
            for m in chosen:
                for test in m.tests:
                    start = time.monotonic()
                    alive = workshop.survives(m, test)
                    survived += alive
                    said = "SURVIVED" if alive else "caught"
                    print(f"{said:8} {time.monotonic() - start:5.1f} s  {m.name}: {test}", flush=True)
        except StaleMutantError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    print(f"{len(chosen)} mutants, {survived} survivals")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
