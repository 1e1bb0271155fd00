"""docs/api.md: every route and every problem has its heading, and no heading is of something that is gone."""

import re
from pathlib import Path

import pytest
from dropdock.api.files import STATES
from dropdock.api.jobs import VERBS
from dropdock.api.problems import PROBLEMS
from dropdock.rules.terms import JobState, Kind, Lane, LinkState

DOCS = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def headings(pattern: str) -> set[str]:
    return set(re.findall(pattern, DOCS, re.MULTILINE))


async def test_every_route_has_its_heading(face):
    """The routes that are served and the routes that are told are the same."""
    served = set()
    for route in face.app().router.routes():
        if route.method == "HEAD":
            continue
        path = route.resource.canonical
        served |= {f"{route.method} {path.replace('{verb}', verb)}" for verb in (VERBS if "{verb}" in path else [""])}
    assert headings(r"^### ((?:GET|POST|PUT|PATCH|DELETE) /\S*)$") == served


def test_every_problem_has_its_heading():
    """The `type` of every problem leads to a heading, which begins with its status."""
    told = dict(re.findall(r"^### ([a-z-]+)\n(\d+)\. ", DOCS, re.MULTILINE))
    assert told == {slug: str(status) for slug, (status, _) in PROBLEMS.items()}


@pytest.mark.parametrize(
    "words", [STATES, Kind, Lane, LinkState, [*JobState, "open"]], ids=["files", "kind", "lane", "link", "job"]
)
def test_every_word_of_a_filter_is_told(words):
    """What a filter takes is written out."""
    flat = DOCS.replace("\n", " ")
    assert [w for w in words if f"`{w}`" not in flat] == []


def test_no_link_in_the_page_is_dead():
    """Every `#anchor` is a heading of the page."""
    anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings(r"^#+ (.+)$")}
    assert headings(r"\(#([a-z0-9-]+)\)") <= anchors
