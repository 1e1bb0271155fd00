"""What `models show` and `models lookup` print of CivitAI's answer."""

from __future__ import annotations

from dropdock.daemon.commands.lookup import lines

KNOWN = {
    "at": 0.0, "known": True, "note": "", "name": "A \x1b[31mstyle", "version": "v1", "type": "LORA", "base": "Pony",
    "words": ["hat", "cat"], "nsfw": True, "page": "https://civitai.com/models/7",
}  # fmt: skip


def test_what_is_known_is_printed_safely() -> None:
    """Name, kind, trigger words and page; a control character of a name is an escape."""
    found = list(lines({"civitai": KNOWN}))
    assert found == [
        r"civitai      A \x1b[31mstyle v1 (LORA, Pony, mature)",
        "words        hat; cat",
        "page         https://civitai.com/models/7",
    ]


def test_what_is_not_known_says_so() -> None:
    """Never asked: nothing. Asked in vain: when. Not usable: why."""
    assert list(lines({"civitai": None})) == [] and list(lines({})) == []
    (line,) = lines({"civitai": {"at": 0.0, "known": False, "note": ""}})
    assert "does not know it" in line
    (line,) = lines({"civitai": {"at": 0.0, "known": False, "note": "the answer is about another file"}})
    assert "another file" in line
