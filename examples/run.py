"""What `make run` does: carries three real workflows to their end before your eyes, and says what to try next."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(out: Path = HERE / "out") -> int:
    """Run the examples, leaving report and store in `out`; 0 when all ended as they should, else the first other exit code."""
    out.mkdir(parents=True, exist_ok=True)
    report, store = out / "report", out / "perdure.db"
    say("A data set, from raw rows to a report with pictures: 406 cars of the years 1970 to 1982.")
    code = perdure("run", HERE / "data" / "cars.yaml", "--input", json.dumps({"folder": str(report)}), "--store", store)
    if code:
        return code
    say("A scientific workflow: a mosaic of the sky, 296 tasks with 740 dependencies, on recorded runtimes (scaled).")
    code = perdure("run", HERE / "science" / "montage.yaml", "--store", store)
    if code:
        return code
    say("Five orders at once, in a shop that is slow, flaky, and for a while down; one process is killed half-way.")
    code = subprocess.run([sys.executable, HERE / "orders" / "day.py", "--store", store], check=False).returncode
    if code:
        return code
    say(f"All are done. The report lies in {shown(report / 'cars.html')}: open it in a browser.")
    python = Path(sys.executable)
    command, places = shown(python.parent / "perdure"), {"store": shown(store), "examples": shown(HERE)}
    print(NEXT.format(perdure=command, python=shown(python), **places))
    return 0


NEXT = """
What to try next:

  {perdure} list --store {store}
      what has run; `show ID` gives its timeline
  {perdure} run {examples}/science/montage.yaml --store {store}
      and kill it half-way, with Ctrl-C or kill -9; then
  {perdure} resume --store {store}
      it goes on where it was
  {python} {examples}/orders/shop.py
      opens the shop; then, in another terminal, fulfil an order of your own:
  {perdure} run {examples}/orders/order.yaml --store {store} --input '{{"shop": "http://127.0.0.1:8765", "order": "A-1"}}'
  {perdure} check {examples}/data/cars.yaml
      after changing something in it: every mistake at once, each with its place
"""


def perdure(*arguments: str | Path) -> int:
    """Run the command as it would run in this terminal, showing what is typed."""
    words = [str(argument) for argument in arguments]
    print(f"$ perdure {' '.join(shlex.quote(shown(word)) for word in words)}", flush=True)
    return subprocess.run([sys.executable, "-m", "perdure", *words], check=False).returncode


def say(text: str) -> None:
    print(f"\n{text}\n", flush=True)


def shown(path: str | Path) -> str:
    """A path as one would type it here."""
    folder = f"{Path.cwd()}/"
    return str(path).replace(folder, "")


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
