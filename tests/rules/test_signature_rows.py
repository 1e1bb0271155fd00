"""Every row of the signature tables: found in a minimal header of its own, and not in any rival's."""

import pytest
from dropdock.rules.classify import classify
from dropdock.rules.header import Header
from dropdock.rules.signatures import LIKELY
from row_cases import PARTS, Row, header_of, measured, rows

ROWS = [(part, row) for part, row in rows() if not str(row["id"]).startswith("looks-like-")]
CONFIDENT = 0.8


def bases(row: Row) -> set[str]:
    base = row.get("base", "unknown")
    return set(map(str, base)) if isinstance(base, list) else {str(base)}


def answer(header: Header) -> tuple[str, str, float]:
    model = classify(header, "model").model
    return model.type, model.base, model.confidence


@pytest.mark.parametrize(("part", "row"), ROWS, ids=[f"{p}:{r['id']}" for p, r in ROWS])
def test_a_row_finds_its_own(part: str, row: Row) -> None:
    """A header with just what the row asks for is given the row's type and base and no rival's, however many rows are asked before."""
    header = header_of(part, row)
    kind, base, confidence = answer(header)
    wanted = {header.metadata.get(b[1:], b) if b.startswith("$") else b for b in bases(row)}
    assert kind == row.get("type", "lora")
    if len(wanted) == 1:
        assert base in wanted
        assert confidence >= 0.6 or wanted == {"unknown"}
        assert measured(row) or confidence < CONFIDENT
    else:
        assert base in wanted | {"unknown"}


@pytest.mark.parametrize(
    ("part", "row"), [(p, r) for p, r in ROWS if measured(r)], ids=[f"{p}:{r['id']}" for p, r in ROWS if measured(r)]
)
def test_other_widths_are_not_claimed(part: str, row: Row) -> None:
    """The same names with widths seven times as large are nobody's: no base is named surely."""
    _, base, confidence = answer(header_of(part, row, scale=7))
    assert base == "unknown" or confidence < CONFIDENT


UNSURE = [
    (p, r)
    for p, r in ROWS
    if r.get("unsure") and not isinstance(r.get("base", []), list) and answer(header_of(p, r))[1:] == (r["base"], LIKELY)
]


@pytest.mark.parametrize(("part", "row"), UNSURE, ids=[f"{p}:{r['id']}" for p, r in UNSURE])
def test_a_name_makes_no_unsure_row_sure(part: str, row: Row) -> None:
    """Where a relative's tensors fit as well, a file and a folder that are called as the family do not make it surely that."""
    header = header_of(part, row)
    model = classify(header, f"{row['base']}_v1", [str(row["base"])]).model
    assert model.confidences["base"] < CONFIDENT
    assert len(UNSURE) > 20


def test_rows_have_tables() -> None:
    """All five tables are walked, so a row cannot be missed."""
    assert {part for part, _ in ROWS} == set(PARTS)
    assert len(ROWS) > 200
