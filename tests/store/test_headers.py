"""Headers by content: kept once, words by who says them, and which verdicts are of another version of the rules."""

from dropdock.rules.terms import Evidence, Facts, Kind, Model, ModelFacts
from dropdock.store import headers, models
from dropdock.store.database import Database
from dropdock.store.headers import HeaderRow

SAID = (Evidence("civitai", "base=sdxl", 0.85, "so it says"),)


def model(tmp_path, digit: str) -> Model:
    facts = Facts(tmp_path / digit, Kind.MODEL, 1, model=ModelFacts("safetensors"))
    return Model(digit * 64, "x", 1, digit, tmp_path / digit, facts)


async def test_words_are_kept_by_who_says_them(tmp_path):
    """A new word of one origin takes the place of its old one, that of another stays, also when the header comes later."""
    async with Database(tmp_path / "x.db") as db:
        await db.write(lambda c: headers.say(c, "a" * 64, "civitai", SAID, 1.0))
        row = await db.read(lambda c: headers.get(c, "a" * 64))
        assert (row.packed, row.version, row.evidence()) == (None, headers.NEVER, SAID)
        sidecar = Evidence("sidecar", "base=sd15", 0.5, "x.json says so")
        kept = HeaderRow("a" * 64, b"head", {"sidecars": (sidecar,)}, 7, "lora sdxl 0.9")
        await db.write(lambda c: headers.keep(c, kept, 2.0))
        row = await db.read(lambda c: headers.get(c, "a" * 64))
        assert (row.packed, row.version, row.evidence()) == (b"head", 7, (*SAID, sidecar))
        await db.write(lambda c: headers.say(c, "a" * 64, "civitai", (), 3.0))
        row = await db.read(lambda c: headers.get(c, "a" * 64))
        assert (row.packed, row.evidence()) == (b"head", (sidecar,))
        assert await db.read(lambda c: headers.known(c, ["a" * 64, "b" * 64])) == {"a" * 64}
        assert await db.read(lambda c: headers.get(c, "b" * 64)) is None


async def test_what_is_stale(tmp_path):
    """A model without a verdict, or with one of another version, is stale; with the model its header goes."""
    async with Database(tmp_path / "x.db") as db:
        for digit in "abc":
            await db.write(lambda c, digit=digit: models.keep(c, model(tmp_path, digit), tmp_path / digit, 1.0))
        await db.write(lambda c: headers.keep(c, HeaderRow("a" * 64, b"h", {}, 2, ""), 1.0))
        await db.write(lambda c: headers.keep(c, HeaderRow("b" * 64, b"h", {}, 1, ""), 1.0))
        assert await db.read(lambda c: headers.stale(c, 2)) == 2
        assert await db.read(lambda c: headers.batch(c, 2, 0, 10)) == [(2, "b" * 64), (3, "c" * 64)]
        assert await db.read(lambda c: headers.batch(c, None, 1, 1)) == [(2, "b" * 64)]
        await db.write(lambda c: c.execute("DELETE FROM models WHERE sha256=?", ("a" * 64,)))
        assert await db.read(lambda c: headers.get(c, "a" * 64)) is None
