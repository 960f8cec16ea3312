"""Run the measurements: `python -m bench [rows] [fold] [catchup] [latency] [--events N] [--rounds N] [--json]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

JOBS = ("rows", "fold", "catchup", "latency")


def _machine() -> str:
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            x.partition(":")[2].strip() for x in info.read_text().splitlines() if x.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{os.cpu_count()} × {model}, Python {platform.python_version()}, {platform.system()} {platform.release()}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("jobs", nargs="*", choices=[*JOBS, []], help="which jobs (all)")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    from bench import catchup, fold, latency, rows

    runs = {"rows": rows.run, "fold": fold.run, "catchup": catchup.run, "latency": latency.run}
    found = []
    for job in options.jobs or JOBS:
        found += runs[job](options.events, options.rounds)
    result = {"date": datetime.now(UTC).date().isoformat(), "machine": _machine(), "results": found}
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"{result['date']}  {result['machine']}")
        for row in found:
            print("\n" + str(row.pop("job")))
            for name, value in row.items():
                print(f"  {name:28} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
