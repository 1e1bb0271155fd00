import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from dropdock.daemon.settling import LONGEST, Look, Settling
from dropdock.rules.terms import Arrival, Mode, Stamp, Watch
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path("/in")


@dataclass
class World:
    """A scripted disk and a clock: files are what `show` says at each moment. Time jumps from deadline to deadline."""

    settle: float = 2.0
    patience: float = 30.0
    now: float = 100.0
    disk: dict[str, Look] = field(default_factory=dict)
    arrivals: list[tuple[float, Arrival]] = field(default_factory=list)
    looks: list[tuple[float, str]] = field(default_factory=list)
    script: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settling = Settling(Watch("in", ROOT, Mode.INBOX, settle=self.settle, patience=self.patience))

    def put(self, name: str, size: int = 1, event: bool = True, closed: bool = False, **look: object) -> None:
        self.disk[name] = Look(Stamp(size, 0, 1, 1), **{"whole": None, "writer": False, **look})  # type: ignore[arg-type]
        if event:
            self.settling.touch(ROOT / name, self.now, closed)

    def at(self, after: float, act: Callable[[], None]) -> None:
        self.script.append((100.0 + after, act))

    def run(self, seconds: float) -> list[tuple[float, str]]:
        """Live for so long; returns (seconds since the start, lead's name) of each arrival so far."""
        end = 100.0 + seconds
        self.script.sort(key=lambda line: line[0])
        while True:
            deadline = self.settling.next_deadline()
            times = [t for t in (deadline, self.script[0][0] if self.script else None) if t is not None]
            if not times or min(times) > end:
                self.now = end
                break
            self.now = max(self.now, min(times))
            while self.script and self.script[0][0] <= self.now:
                self.script.pop(0)[1]()
            for path in self.settling.due(self.now):
                self.looks.append((self.now, path.name))
                rel = str(path.relative_to(ROOT))
                self.settling.look(path, self.disk.get(rel, Look(None, gone=True)), self.now)
            self.arrivals += [(self.now, a) for a in self.settling.ready(self.now)]
        return [(round(t - 100.0, 3), str(a.lead.relative_to(ROOT))) for t, a in self.arrivals]


def test_a_file_arrives_after_the_quiet_time() -> None:
    """Two equal looks and two seconds without an event make an Arrival with the stamp that was seen; nothing is left behind."""
    world = World()
    world.put("x.png", size=7)
    assert world.run(60) == [(2.0, "x.png")]
    assert world.arrivals[0][1] == Arrival("in", ROOT / "x.png", Stamp(7, 0, 1, 1))
    assert len(world.settling) == 0 and world.settling.next_deadline() is None and world.looks[-1][0] == 102.0


@pytest.mark.parametrize("late", [0.0, 0.004, 0.15])
def test_a_first_look_that_came_late_delays_nothing(late: float) -> None:
    """The second look is due when the quiet time is over, not half of it after a first look that was late by a timer or a slow disk."""
    settling = Settling(Watch("in", ROOT, Mode.INBOX))
    settling.touch(ROOT / "x.png", 100.0, closed=True)
    assert settling.due(101.0) == [ROOT / "x.png"]
    settling.look(ROOT / "x.png", Look(Stamp(1, 0, 1, 1), writer=False), 101.0 + late)
    assert settling.next_deadline() == 102.0


def test_a_closed_file_is_told_of_before_it_settles() -> None:
    """Its header can be read meanwhile: once after each last event, led by the picture, and the Arrival comes when it would."""
    world = World()
    world.put("x.png", closed=True, beside=("x.txt",))
    world.put("x.txt", closed=True, beside=("x.png",))
    assert world.run(0.2) == [] and world.settling.likely() == []
    world.run(0.5)
    (told,) = world.settling.likely()
    assert (told.lead, told.companions) == (ROOT / "x.png", (ROOT / "x.txt",))
    world.run(1.5)
    assert world.settling.likely() == [] and len(world.looks) == 2
    world.put("x.png", size=2, closed=True, beside=("x.txt",))
    assert world.run(60) == [(3.5, "x.png")]
    assert [a.stamp.size for a in world.settling.likely()] == [2]


@pytest.mark.parametrize(
    "look",
    [{"writer": True}, {"whole": False}, {"pending": "x.png.part"}, {"folder": ROOT / "m"}, {"beside": ("x.safetensors",)}],
    ids=["open for writing", "unfinished", "a download", "in a model's folder", "led by another"],
)
def test_what_may_still_change_is_not_told_of(look: dict[str, object]) -> None:
    """Only what looks finished is worth reading ahead."""
    world = World()
    world.put("x.png", closed=True, **look)
    world.run(1.9)
    assert world.looks and world.settling.likely() == []


@pytest.mark.parametrize(("closed", "told"), [(True, 1), (False, 0)])
def test_where_nobody_tells_of_writers_the_close_does(closed: bool, told: int) -> None:
    """A file that may be growing is not read ahead: without a lease, only a close says that it is done."""
    world = World()
    world.put("x.png", closed=closed, writer=None)
    world.run(1.9)
    assert len(world.settling.likely()) == told


def test_every_event_starts_the_quiet_time_anew() -> None:
    """A path is not taken while events keep coming."""
    world = World()
    world.put("x.png")
    for n in range(1, 6):
        world.at(n * 1.5, lambda: world.put("x.png"))
    assert world.run(60) == [(9.5, "x.png")]


def test_a_closed_whole_archive_arrives_early() -> None:
    """An archive can prove that it is whole and takes no companions; a picture that was closed waits for its caption."""
    world = World()
    world.put("x.zip", closed=True, whole=True)
    world.put("y.png", closed=True, whole=True)
    assert world.run(60) == [(0.4, "x.zip"), (2.0, "y.png")]


@pytest.mark.parametrize("look", [{"whole": None}, {"whole": True, "writer": None}, {"whole": True, "pending": "x.zip.aria2"}])
def test_no_proof_no_early_arrival(look: dict[str, object]) -> None:
    """A closed archive that may not be whole, or may have another writer, waits the full quiet time at least."""
    world = World()
    world.put("x.zip", closed=True, **look)
    assert all(at >= 2.0 for at, _ in world.run(600))


@pytest.mark.parametrize("pause", [1.0, 4.0, 10.0, 45.0, 500.0])
def test_a_slow_copier_is_waited_for(pause: float) -> None:
    """While somebody has the file open nothing arrives, however long the pauses between blocks; the close ends the wait."""
    world = World()
    world.put("x.safetensors", size=0, writer=True)
    for n in range(1, 8):
        world.at(n * pause, lambda n=n: world.put("x.safetensors", size=n, event=False, writer=True))
    world.at(8 * pause, lambda: world.put("x.safetensors", size=8, closed=True, whole=True))
    assert world.run(8 * pause + 100) == [(8 * pause + 2.0, "x.safetensors")]


@pytest.mark.parametrize("pause", [3.0, 20.0])
def test_a_growing_file_without_events_is_waited_for(pause: float) -> None:
    """On a share, where nobody tells of writers or events, an unfinished file that grows in steps is taken only when it is whole."""
    world = World()
    world.put("x.safetensors", size=0, whole=False, writer=None)
    for n in range(1, 10):
        world.at(n * pause, lambda n=n: world.put("x.safetensors", size=n, event=False, whole=n == 9, writer=None))
    ((at, _),) = world.run(1000)
    assert 9 * pause <= at <= 9 * pause + 30 and world.arrivals[0][1].whole


def test_patience_learns_from_the_gaps() -> None:
    """After a pause of 25 s a file that stays unfinished is waited for ten times that, not the watch's 30 s."""
    world = World()
    world.put("x.safetensors", size=0, whole=False)
    world.at(25, lambda: world.put("x.safetensors", size=1, event=False, whole=False))
    ((at, _),) = world.run(2000)
    assert at > 25 + 10 * 20


def test_what_stays_unfinished_arrives_as_such() -> None:
    """With no writer and no change for the watch's patience, it arrives with whole=False."""
    world = World()
    world.put("x.safetensors", whole=False)
    assert world.run(600) == [(30.0, "x.safetensors")] and not world.arrivals[0][1].whole


def test_waiting_is_not_polling() -> None:
    """A file that somebody keeps open for a day is looked at less and less, at most once a minute."""
    world = World()
    world.put("x.bin", writer=True)
    assert world.run(86_400) == []
    times = [t for t, _ in world.looks]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps == sorted(gaps) and gaps[-1] == LONGEST
    (waiting,) = world.settling.waiting()
    assert (waiting.path, waiting.why, waiting.since) == (ROOT / "x.bin", "is open for writing", 100.0)


def test_a_deleted_path_departs_silently() -> None:
    """No Arrival, one Departure, no memory of it."""
    world = World()
    world.put("x.png")
    world.at(1.5, lambda: (world.disk.clear(), world.settling.touch(ROOT / "x.png", world.now)))  # type: ignore[func-returns-value]
    assert world.run(60) == [] and len(world.settling) == 0
    assert [d.path for d in world.settling.departures()] == [ROOT / "x.png"] and world.settling.departures() == []


def test_what_is_no_file_neither_arrives_nor_departs() -> None:
    """A symlink, a fifo or a plain folder is nothing to take, and nothing that went."""
    world = World()
    world.disk["x.png"] = Look(None)
    world.settling.touch(ROOT / "x.png", 100.0)
    assert world.run(60) == [] and world.settling.departures() == [] and len(world.settling) == 0


def test_a_forgotten_path_does_not_arrive() -> None:
    """What we moved ourselves is not waited for."""
    world = World()
    world.put("x.png")
    world.settling.forget(ROOT / "x.png")
    assert world.run(60) == [] and world.settling.next_deadline() is None


def test_an_event_while_looking_makes_the_look_void() -> None:
    """A look that an event overtook proves nothing, even if it saw the same stamp."""
    world = World()
    world.put("x.png")
    settling, look = world.settling, world.disk["x.png"]
    settling.due(101.0)
    settling.look(ROOT / "x.png", look, 101.0)
    assert settling.due(102.0) == [ROOT / "x.png"]
    settling.touch(ROOT / "x.png", 102.5)
    settling.look(ROOT / "x.png", look, 102.6)
    assert settling.ready(102.6) == []
    world.now = 102.6
    assert world.run(60) == [(4.5, "x.png")]


def test_a_unit_waits_for_its_slowest_member() -> None:
    """Model, preview and metadata arrive as one when the last of them is quiet, wherever in the window they came."""
    world = World()
    world.put("a/x.civitai.info")
    world.at(1.0, lambda: world.put("a/x.safetensors", closed=True, whole=True))
    world.at(2.5, lambda: world.put("a/x.preview.png"))
    assert world.run(60) == [(4.5, "a/x.safetensors")]
    assert world.arrivals[0][1].companions == (ROOT / "a/x.civitai.info", ROOT / "a/x.preview.png")


def test_two_pictures_of_one_stem_do_not_wait_for_each_other() -> None:
    """They are two units, one of which has the caption."""
    world = World()
    world.put("cat.png")
    world.put("cat.txt")
    world.put("cat.jpg")
    world.at(1.5, lambda: world.put("cat.png"))
    assert world.run(60) == [(2.0, "cat.jpg"), (3.5, "cat.png")]
    assert world.arrivals[0][1].companions == (ROOT / "cat.txt",) and world.arrivals[1][1].companions == ()


def test_companions_at_rest_are_taken_along() -> None:
    """A model finds the metadata that lay beside it for days."""
    world = World()
    world.put("x.safetensors", whole=True, beside=("x.json",))
    world.run(60)
    assert world.arrivals[0][1].companions == (ROOT / "x.json",)


def test_a_late_companion_brings_its_lead_again() -> None:
    """A caption beside a picture at rest arrives as that picture's unit, with the picture's own stamp."""
    world = World()
    world.put("cat.png", size=9, event=False, beside=("cat.txt",))
    world.put("cat.txt", beside=("cat.png",))
    assert [name for _, name in world.run(60)] == ["cat.png"]
    assert world.arrivals[0][1] == Arrival("in", ROOT / "cat.png", Stamp(9, 0, 1, 1), (ROOT / "cat.txt",))
    assert len(world.settling) == 0


def test_a_lead_that_went_away_does_not_hold_its_companion() -> None:
    """The listing named a picture that is gone when it is looked at: the text arrives alone."""
    world = World()
    world.put("cat.txt", beside=("cat.png",))
    assert [name for _, name in world.run(60)] == ["cat.txt"] and len(world.settling) == 0


def test_companions_wait_for_a_download() -> None:
    """A preview beside a model that is still being fetched waits for it, and goes with it."""
    world = World()
    world.put("x.preview.png", pending="x.safetensors.part")
    world.at(300, lambda: world.put("x.preview.png", event=False))
    world.at(300, lambda: world.put("x.safetensors", closed=True, whole=True))
    assert [name for _, name in world.run(600)] == ["x.safetensors"]
    assert world.arrivals[0][1].companions == (ROOT / "x.preview.png",)


def test_a_folder_that_is_one_model_arrives_as_one() -> None:
    """Its files, in whatever sub-folders, wait for each other; then the folder itself is looked at and is the lead."""
    world, folder = World(), ROOT / "flux"
    world.put("flux", size=30, event=False, folder=folder)
    world.put("flux/model_index.json", folder=folder)
    world.at(1, lambda: world.put("flux/vae/config.json", folder=folder))
    world.at(2.9, lambda: world.put("flux/transformer/x.safetensors", folder=folder, whole=True))
    ((at, name),) = world.run(60)
    assert name == "flux" and 4.9 <= at <= 7
    assert world.arrivals[0][1] == Arrival("in", folder, Stamp(30, 0, 1, 1), (), True)
    assert len(world.settling) == 0


def test_a_late_file_holds_its_folder() -> None:
    """While the folder itself is looked at, one more file in it starts the wait anew."""
    world, folder = World(), ROOT / "flux"
    world.put("flux", event=False, folder=folder)
    world.put("flux/model_index.json", folder=folder)
    world.at(2.5, lambda: world.put("flux/vae/x.safetensors", folder=folder))
    ((at, name),) = world.run(60)
    assert name == "flux" and at >= 4.5 and len(world.settling) == 0


def test_a_folder_that_is_no_model_after_all_lets_its_files_go() -> None:
    """The index was deleted in time: the files arrive one by one."""
    world, folder = World(), ROOT / "flux"
    world.put("flux/a.safetensors", folder=folder)
    world.disk["flux"] = Look(None)
    world.at(2.0, lambda: world.put("flux/a.safetensors", event=False))
    assert [name for _, name in world.run(60)] == ["flux/a.safetensors"] and len(world.settling) == 0


def test_ten_thousand_paths_cost_no_scan() -> None:
    """Each of 10,000 paths is looked at twice and arrives once; a call that has nothing due returns nothing."""
    world = World()
    for n in range(10_000):
        world.put(f"d{n % 10}/{n}.png")
    assert world.settling.due(100.5) == []
    assert len(world.run(60)) == 10_000 and len(world.looks) == 20_000 and len(world.settling) == 0


def test_a_burst_is_looked_at_in_portions() -> None:
    """due() names so many paths at most, each once, and the deadline says at once that there are more."""
    world = World()
    for n in range(25):
        world.put(f"{n}.png")
    portions = [world.settling.due(101.0, limit=10) for _ in range(4)]
    assert [len(p) for p in portions] == [10, 10, 5, 0] and len({path for p in portions for path in p}) == 25
    world = World()
    world.put("x.png")
    world.put("y.png")
    world.settling.due(101.0, limit=1)
    assert world.settling.next_deadline() == 101.0


STEMS = st.sampled_from(["a.png", "a.txt", "a.safetensors", "a.json", "d/b.zip", "d/b.png", "m/model_index.json", "m/v/x.bin"])
STEPS = st.lists(
    st.tuples(
        st.floats(0, 40),
        STEMS,
        st.integers(0, 3),
        st.booleans(),
        st.sampled_from([True, False, None]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=200)
@given(STEPS)
def test_every_path_ends_exactly_once(steps: list[tuple[float, str, int, bool, bool | None, bool, bool]]) -> None:
    """Whatever happens on the disk for 40 s, once it stops every present file is in the last word of exactly one unit, every
    arrival carries the stamp the disk had when it was last looked at, and nothing is left waiting."""
    world = World()
    model = ROOT / "m"
    dirty: set[str] = set()

    def act(name: str, size: int, closed: bool, whole: bool | None, writer: bool, gone: bool) -> None:
        dirty.add(name)
        folder = model if name.startswith("m/") else None
        if gone:
            world.disk.pop(name, None)
            world.settling.touch(ROOT / name, world.now)
        else:
            world.put(name, size=size, closed=closed, whole=whole, writer=writer, folder=folder)
        if any(n.startswith("m/") for n in world.disk):
            world.put("m", size=1, event=False, folder=model)
        else:
            world.disk.pop("m", None)

    for at, *rest in steps:
        world.at(at, lambda rest=rest: act(*rest))
    for name in sorted({s[1] for s in steps}):  # in the end every writer closes
        world.at(41, lambda name=name: world.put(name, closed=True, size=5) if name in world.disk and name[0] != "m" else None)
        world.at(
            41,
            lambda name=name: (
                world.put(name, closed=True, size=5, folder=model) if name in world.disk and name[0] == "m" else None
            ),
        )
    world.run(5000)
    assert len(world.settling) == 0 and world.settling.next_deadline() is None
    late = [a for t, a in world.arrivals if t >= 141.0]
    told = [p for a in late for p in (a.lead, *a.companions)]
    present = {n for n in dirty if n in world.disk}
    expected = {ROOT / n for n in present if not n.startswith("m/")} | ({model} if any(n[0] == "m" for n in present) else set())
    assert sorted(told) == sorted(expected)
    assert all(a.stamp.size == (1 if a.folder else 5) for a in late)
