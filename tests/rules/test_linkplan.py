"""The plan: wanted minus found, and never at the cost of a person's file."""

from pathlib import Path

import pytest
from dropdock.rules.deployment import COMPANION, NOWHERE, Wanted
from dropdock.rules.linkplan import Conflict, Create, Found, Made, Method, Remove, Seen, plan
from dropdock.rules.terms import Link, LinkState, Target

COMFY = Target("comfy", "comfyui", Path("/apps/comfy"))
TO = Path("/hub/aa/x")
AT = Path("/apps/comfy/models/loras/x")
LINK = Link("comfy", "lora", AT, TO, "aa")
AIMS = Wanted((LINK,), (), {"comfy": COMFY})
NOTHING = Wanted(())
RIGHT = Found(Seen.LINK, str(TO), TO)
OLD = Made(Link("comfy", "lora", AT, Path("/hub/bb/x"), "bb"))


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (Found(Seen.LINK, "/else", Path("/else")), LinkState.FOREIGN),
        (Found(Seen.FILE, same=True), LinkState.ADOPTABLE),
        (Found(Seen.FILE, same=False), LinkState.CONFLICT),
        (Found(Seen.FILE), LinkState.CONFLICT),
        (Found(Seen.OTHER), LinkState.CONFLICT),
        (Found(Seen.BLOCKED, note="no such folder"), LinkState.CONFLICT),
        (Found(Seen.ABSENT, alive=False), LinkState.BROKEN),
        (Found(Seen.LINK, str(TO), TO, alive=False), LinkState.BROKEN),
    ],
)
def test_what_is_not_ours_is_only_reported(found: Found, state: LinkState) -> None:
    """A person's link, file or folder is a conflict to show and nothing is done about it."""
    made = plan(AIMS, {AT: found}, [])
    assert [c.state for c in made.conflicts] == [state]
    assert made.idle and not made.ok


def test_missing_right_and_outdated_links() -> None:
    """A missing link is made, a right one is left (a person's stays theirs), our link to another file is replaced."""
    assert plan(AIMS, {AT: Found(Seen.ABSENT)}, []).create == (Create(LINK, False, COMFY.path),)
    assert plan(AIMS, {AT: RIGHT}, [Made(LINK)]).ok == (Made(LINK),)
    assert plan(AIMS, {AT: RIGHT}, []).theirs == (LINK,)
    old = Found(Seen.LINK, "/hub/bb/x", Path("/hub/bb/x"))
    assert plan(AIMS, {AT: old}, [OLD]).create == (Create(LINK, False, COMFY.path, Remove(OLD, old)),)
    assert plan(AIMS, {AT: old}, []).conflicts == (
        Conflict(LINK, LinkState.FOREIGN, "somebody's link to /hub/bb/x stands there"),
    )


def test_a_link_to_a_gone_file_is_removed() -> None:
    """Our link whose hub file is gone goes too, since some apps fail on dangling links."""
    dead = Found(Seen.LINK, str(TO), TO, alive=False)
    made = plan(AIMS, {AT: dead}, [Made(LINK)])
    assert made.remove == (Remove(Made(LINK), dead),)
    assert made.conflicts[0].state is LinkState.BROKEN


def test_a_target_that_became_relative_gets_new_links() -> None:
    """The form of the text is part of what is wanted, for links that we made."""
    aims = Wanted((LINK,), (), {"comfy": Target("comfy", "comfyui", COMFY.path, relative=True)})
    assert [c.relative for c in plan(aims, {AT: RIGHT}, [Made(LINK)]).create] == [True]
    assert plan(aims, {AT: Found(Seen.LINK, "../x", TO)}, [Made(LINK)]).idle


def test_only_our_unchanged_links_are_removed() -> None:
    """No longer wanted: ours goes; what a person put there stays and the record is forgotten; an unplugged disk waits."""
    assert plan(NOTHING, {AT: RIGHT}, [Made(LINK)]).remove == (Remove(Made(LINK), RIGHT),)
    for other in (Found(Seen.ABSENT), Found(Seen.FILE, same=True), Found(Seen.LINK, "/y", Path("/y")), Found(Seen.OTHER)):
        made = plan(NOTHING, {AT: other}, [Made(LINK)])
        assert (made.remove, made.forget) == ((), (AT,))
    assert plan(NOTHING, {AT: Found(Seen.BLOCKED)}, [Made(LINK)]).ok == (Made(LINK),)


@pytest.mark.parametrize("method", [Method.HARDLINK, Method.COPY])
def test_fallbacks_are_ours_while_their_content_is(method: Method) -> None:
    """A hardlink or copy of ours is right while it has the hub file's content; once an app changed it, it is the person's."""
    mine = Made(LINK, method)
    assert plan(AIMS, {AT: Found(Seen.FILE, same=True)}, [mine]).ok == (mine,)
    assert plan(NOTHING, {AT: Found(Seen.FILE, same=True)}, [mine]).remove
    for same in (False, None):
        assert plan(AIMS, {AT: Found(Seen.FILE, same=same)}, [mine]).conflicts[0].state is LinkState.CONFLICT
        assert plan(NOTHING, {AT: Found(Seen.FILE, same=same)}, [mine]).forget == (AT,)


# ---------------------------------------------------------------- companions and adopted places

NEAR = Link("comfy", COMPANION, Path("/apps/comfy/models/loras/x.png"), Path("/hub/aa/x.png"), "aa")


def test_a_preview_is_a_copy_and_the_apps_own_once_it_changed() -> None:
    """Copied where nothing stands; ours while it is as we left it; an app's own after that, neither replaced nor removed."""
    aims = Wanted((NEAR,), (), {"comfy": COMFY})
    assert [c.copied for c in plan(aims, {NEAR.at: Found(Seen.ABSENT)}, []).create] == [True]
    mine = Made(NEAR, Method.COPY)
    assert plan(aims, {NEAR.at: Found(Seen.FILE, same=True)}, [mine]).ok
    changed = plan(aims, {NEAR.at: Found(Seen.FILE, same=False)}, [mine])
    assert (changed.theirs, changed.conflicts, changed.idle) == ((NEAR,), (), True)
    assert plan(NOTHING, {NEAR.at: Found(Seen.FILE, same=False)}, [mine]).remove == ()


@pytest.mark.parametrize("found", [Found(Seen.LINK, "/else", Path("/else")), Found(Seen.FILE, same=False), Found(Seen.OTHER)])
def test_nothing_is_put_beside_a_model_that_is_not_ours(found: Found) -> None:
    """An app would take our preview and metadata for those of what stands in our model's place; what we made there before stays."""
    preview = Link("comfy", COMPANION, AT.with_name("x.png"), Path("/hub/aa/x.png"), "aa")
    aims = Wanted((LINK, preview), (), {"comfy": COMFY})
    assert plan(aims, {AT: found, preview.at: Found(Seen.ABSENT)}, []).idle
    mine = Made(preview, Method.COPY)
    assert plan(aims, {AT: found, preview.at: Found(Seen.FILE, same=True)}, [mine]).ok == (mine,)
    same, free = Found(Seen.FILE, same=True), Found(Seen.ABSENT)
    assert [c.link for c in plan(aims, {AT: same, preview.at: free}, []).create] == [preview]
    assert [c.link for c in plan(aims, {AT: free, preview.at: free}, []).create] == [LINK, preview]


def test_a_preview_that_was_linked_becomes_a_copy() -> None:
    """A symlink of ours at a preview's place would let an app write into the hub, so it is replaced."""
    found = Found(Seen.LINK, str(NEAR.to), NEAR.to)
    assert plan(Wanted((NEAR,), (), {"comfy": COMFY}), {NEAR.at: found}, [Made(NEAR)]).create[0].instead == Remove(
        Made(NEAR), found
    )


def test_a_file_in_our_links_place_is_told_as_an_apps_doing() -> None:
    """An app that swapped its own file in: adoptable with the same content, a conflict with other; the note says who did it."""
    same = plan(AIMS, {AT: Found(Seen.FILE, same=True)}, [Made(LINK)]).conflicts[0]
    other = plan(AIMS, {AT: Found(Seen.FILE, same=False)}, [Made(LINK)]).conflicts[0]
    assert (same.state, other.state) == (LinkState.ADOPTABLE, LinkState.CONFLICT)
    assert "an app put in our link's place" in same.note and "an app put in our link's place" in other.note


def test_an_adopted_place_outside_of_every_target_gets_its_link() -> None:
    """Its own folder is the root that must exist."""
    link = Link(NOWHERE, "lora", Path("/lib/loras/x"), TO, "aa")
    assert plan(Wanted((link,)), {link.at: Found(Seen.ABSENT)}, []).create == (Create(link, False, Path("/lib/loras")),)
