"""How often classifying is right, what is taken for what, and what it costs: a corpus of headers is written as sparse files and identified.

    python benchmarks/classify.py [--corpus FILE] [--max-gib N] [--peers [FOLDER]]

Right: type and base as expected, and every invalid or unsafe file found as such. Confidently wrong: another answer at 0.8 or more, or any
answer at 0.8 or more where an honest one must be unsure. A corpus is one JSON object a line, gzipped or plain; tests/data has one.
Headers that fit several families (tests/data/unsure.jsonl.gz) are asked beside it, and count in the line on being unsure alone.
--peers also asks diffusers, which is installed with torch (5 GB) into FOLDER, or into one that is removed again; DROPDOCK_BENCH_PEERS
names such a FOLDER for `./run bench _results`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import _headers  # noqa: E402
import _peers  # noqa: E402
import model_files  # noqa: E402
from _bench import Figure, alternate, check, report, scratch  # noqa: E402
from dropdock.rules.identify import identify  # noqa: E402
from dropdock.rules.terms import Facts  # noqa: E402

CONFIDENT = 0.8
UNSURE = ROOT / "tests" / "data" / "unsure.jsonl.gz"
ENOUGH = 0.98  # share of the cases that must be right
DAMAGE = ("invalid", "unsafe")
Case = Mapping[str, object]
Answer = tuple[str, str]  # type, base


@dataclass(frozen=True)
class Judged:
    """One case: what was wanted, what was said, how surely, and the verdict on it."""

    case: Case
    wanted: Answer
    said: Answer
    confidence: float
    verdict: str  # right, wrong, confidently wrong


def load(path: Path) -> Iterator[Case]:
    """The cases of a corpus, gzipped or plain by its content."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as text:
        for line in text:
            if line.strip():
                yield json.loads(line)


def answer(facts: Facts) -> Answer:
    """Type and base in the corpus's words, in which damage and danger are types."""
    base = facts.model.base if facts.model else "unknown"
    if facts.condition.value in DAMAGE:
        return facts.condition.value, base
    return (facts.model.type if facts.model else facts.kind.value), base


def judge(case: Case, facts: Facts) -> Judged:
    """What to think of the answer to a case."""
    expect: dict[str, object] = case["expect"]  # type: ignore[assignment]
    wanted = str(expect["type"]), str(expect["base"])
    said = kind, base = answer(facts)
    types = {wanted[0], *(expect.get("type_any") or ())}  # type: ignore[misc]
    bases = {wanted[1], *(expect.get("base_any") or ())}  # type: ignore[misc]
    confidence = facts.model.confidence if facts.model and kind not in DAMAGE else 0.0
    sure = confidence >= CONFIDENT
    if expect.get("confidence") == "low" and sure:
        verdict = "confidently wrong"
    elif kind in types and (base in bases or kind in DAMAGE):
        verdict = "right"
    else:
        verdict = "confidently wrong" if sure and "unknown" not in said else "wrong"
    return Judged(case, wanted, said, confidence, verdict)


def confusion(judged: Iterable[Judged]) -> str:
    """Wanted, said, how often, for what was not right; and the cases by name."""
    wrong = [j for j in judged if j.verdict != "right"]
    if not wrong:
        return "Nothing was confused."
    pairs = Counter((" ".join(j.wanted), " ".join(j.said)) for j in wrong)
    lines = ["| wanted | said | cases |", "|--------|------|-------|"]
    lines += [f"| {wanted} | {said} | {count} |" for (wanted, said), count in pairs.most_common()]
    named = [f"{j.case['id']} {j.case['filename']}: {' '.join(j.said)} at {j.confidence:.2f} ({j.verdict})" for j in wrong]
    return "\n".join([*lines, "", *named])


def accuracy(judged: list[Judged], unsure: list[Judged]) -> list[Figure]:
    """How often it was right, and the promises about what must never be missed or claimed."""
    total, counts = len(judged), Counter(j.verdict for j in judged)
    damaged = [j for j in judged if j.wanted[0] in DAMAGE]
    found = sum(j.verdict == "right" for j in damaged)
    low = [j for j in (*judged, *unsure) if j.case["expect"].get("confidence") == "low"]  # type: ignore[attr-defined]
    share, sure = counts["right"] / max(total, 1), sum(j.confidence >= CONFIDENT for j in low)
    return [
        Figure("type and base right", f"{ENOUGH:.0%}", f"{counts['right']} of {total} ({share:.1%})", share >= ENOUGH),
        Figure("confidently wrong", "0", str(counts["confidently wrong"]), not counts["confidently wrong"]),
        Figure("invalid and unsafe files found", "all", f"{found} of {len(damaged)}", found == len(damaged)),
        Figure("unsure where one must be, answered surely", "0", f"{sure} of {len(low)}", not sure),
    ]


def side_by_side(judged: list[Judged], folder: str) -> Figure:
    """The bases of single-file diffusion models that diffusers names rightly, beside ours; '' is a folder that is removed again."""
    both = [j for j in judged if _peers.asked(j.case)]
    with tempfile.TemporaryDirectory() as passing:
        theirs = _peers.answers([j.case for j in both], Path(folder or passing).absolute())
    right = sum(base == j.wanted[1] for base, j in zip(theirs, both, strict=True))
    ours = sum(j.said[1] == j.wanted[1] for j in both)
    measured = f"{ours} against {right} of {len(both)}"
    return Figure("bases right, against diffusers' infer_diffusers_model_type", "more", measured, ours > right)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=ROOT / "tests" / "data" / "models.jsonl.gz")
    parser.add_argument("--max-gib", type=float, default=100.0, help="skip files whose apparent size is larger")
    parser.add_argument(
        "--peers",
        nargs="?",
        const="",
        default=os.environ.get("DROPDOCK_BENCH_PEERS"),
        metavar="FOLDER",
        help="also ask diffusers, in a virtual environment of its own",
    )
    args = parser.parse_args()
    judged: list[Judged] = []
    plain: list[Path] = []
    with scratch() as folder:
        for n, case in enumerate(load(args.corpus)):
            if float(str(case["size_bytes"])) <= args.max_gib * 2**30:
                path = model_files.write_case(folder / str(n), case)
                judged.append(judge(case, identify(path)))
                if case["format"] == "safetensors" and not case.get("corrupt"):
                    plain.append(path)
        unsure = [judge(c, identify(model_files.write_case(folder / str(c["id"]), c))) for c in load(UNSURE)]
        each = alternate([lambda: [identify(folder / str(n) / str(j.case["filename"])) for n, j in enumerate(judged)]], 3)[0].wall
        figures = [
            *accuracy(judged, unsure),
            *_headers.safetensors_cpu(plain),
            _headers.gguf_cpu(folder),
            _headers.hostile_memory(folder),
        ]
        read = _headers.bytes_read(folder)
    figures += [read] if read else []
    figures += [side_by_side(judged, args.peers)] if args.peers is not None else []
    counts = Counter(j.verdict for j in judged)
    row = [len(judged), counts["right"], counts["wrong"], counts["confidently wrong"], f"{each / max(len(judged), 1) * 1000:.1f}"]
    report("Classify", ["cases", "right", "wrong", "confidently wrong", "ms a file"], [row], confusion(judged), figures)
    check(not counts["confidently wrong"], "no answer is confidently wrong")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
