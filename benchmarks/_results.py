"""Run all benchmarks and write RESULTS.md: `./run bench _results`. A day may be named: `python benchmarks/_results.py 2026-11-20`.

The file is replaced only when every benchmark ran to its end; a figure that misses its goal is written as missed, and is no failure here.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _bench import FIGURES, Figure, machine, said

HERE = Path(__file__).resolve().parent
HEAD = """# Figures

`./run bench` prints them, `./run bench NAME` one of them, `./run bench _results` writes this page. Every ratio is taken in one run, in
turns with what it is compared with: times alone say more of the machine than of the code.

{day}, on {machine}. Load of the machine before the first benchmark: {load}.

| figure | goal | measured | | command |
|--------|------|----------|-|---------|
"""


def gather(name: str) -> tuple[str, list[Figure]]:
    """Run one benchmark; what it printed, and its figures. Raises SystemExit when it fails."""
    with tempfile.NamedTemporaryFile("r", suffix=".jsonl", encoding="utf-8") as file:
        env = {**os.environ, FIGURES: file.name}
        done = subprocess.run(
            [sys.executable, HERE / f"{name}.py"], env=env, stdout=subprocess.PIPE, encoding="utf-8", check=False
        )
        print(done.stdout, flush=True)
        if done.returncode:
            raise SystemExit(f"{name} failed: RESULTS.md stays as it was")
        return done.stdout, [Figure(**json.loads(line)) for line in file]


def row(name: str, figure: Figure) -> str:
    """A line of the summary."""
    verdict = said(figure.met) + (f": {figure.why}" if figure.why else "")
    return f"| {figure.name} | {figure.goal or '-'} | {figure.measured} | {verdict} | `./run bench {name}` |\n"


def section(text: str) -> str:
    """A benchmark's own words without the machine's line, which the page says once."""
    return "\n" + text.replace(f"\n_{machine()}_\n", "").strip("\n") + "\n"


def main() -> None:
    day = sys.argv[1] if len(sys.argv) > 1 else datetime.date.today().isoformat()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"
    names = sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith("_"))
    found = {name: gather(name) for name in names}
    page = HEAD.format(day=day, machine=machine(), load=load)
    page += "".join(row(name, figure) for name, (_, figures) in found.items() for figure in figures)
    page += "".join(section(text) for text, _ in found.values())
    (HERE / "RESULTS.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
