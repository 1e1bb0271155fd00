"""How often classifying is right, and how long it takes: a corpus of headers is written as sparse files and identified.

    python benchmarks/classify.py [--corpus FILE] [--max-gib N]

Right: type and base as expected. Confidently wrong: another answer at 0.8 or more, which counts worse than "unknown".
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import model_files  # noqa: E402
from _bench import Figure, report  # noqa: E402
from dropdock.rules.identify import identify  # noqa: E402
from dropdock.rules.terms import Facts  # noqa: E402

CONFIDENT = 0.8


def answer(facts: Facts) -> tuple[str, str]:
    """Type and base in the corpus's words, in which damage and danger are types."""
    base = facts.model.base if facts.model else "unknown"
    if facts.condition.value in ("invalid", "unsafe"):
        return facts.condition.value, base
    return (facts.model.type if facts.model else facts.kind.value), base


def judge(case: dict[str, object], facts: Facts) -> str:
    """right, wrong or confidently wrong."""
    expect: dict[str, object] = case["expect"]  # type: ignore[assignment]
    kind, base = answer(facts)
    types = {expect["type"], *(expect.get("type_any") or ())}  # type: ignore[misc]
    bases = {expect["base"], *(expect.get("base_any") or ())}  # type: ignore[misc]
    confident = (facts.model.confidence if facts.model else 0.0) >= CONFIDENT
    if expect.get("confidence") == "low" and confident:
        return "confidently wrong"
    if kind in types and (base in bases or kind in ("invalid", "unsafe")):
        return "right"
    return "confidently wrong" if confident and "unknown" not in (kind, base) else "wrong"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=ROOT / "tests" / "data" / "models.jsonl.gz")
    parser.add_argument("--max-gib", type=float, default=100.0, help="skip files whose apparent size is larger")
    args = parser.parse_args()
    counts = {"right": 0, "wrong": 0, "confidently wrong": 0}
    confusion: list[str] = []
    spent = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for case in model_files.load_corpus(args.corpus):
            if float(str(case["size_bytes"])) > args.max_gib * 2**30:
                continue
            path = model_files.write_case(Path(folder) / str(case["id"]), case)
            identify(path)  # once cold, so that tables and libraries are loaded
            start = time.perf_counter()
            facts = identify(path)
            spent += time.perf_counter() - start
            verdict = judge(case, facts)
            counts[verdict] += 1
            if verdict != "right":
                sure = f"{facts.model.confidence:.2f}" if facts.model else "-"
                confusion.append(f"  {case['id']} {case['filename']}: {case['expect']} -> {answer(facts)} at {sure} ({verdict})")
    total = sum(counts.values())
    each = spent / max(total, 1) * 1000
    rows = [[total, *counts.values(), f"{each:.1f}"]]
    figures = [
        Figure("classified rightly", "", f"{counts['right']} of {total}", None),
        Figure("confidently wrong", "0", str(counts["confidently wrong"]), not counts["confidently wrong"]),
    ]
    report("Classify", ["cases", *counts, "ms a file"], rows, "\n".join(confusion) or "Nothing was confused.", figures)
    return 1 if counts["confidently wrong"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
