"""What a service manager is told, and when its watchdog is fed."""

import asyncio
import socket

import pytest
from dropdock.daemon.notify import Notifier, feed, watchdog_beat
from dropdock.daemon.pulse import Pulse
from dropdock.store.database import Database
from dropdock.store.store import Store
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def manager(tmp_path):
    """The socket that $NOTIFY_SOCKET names."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    link.bind(str(tmp_path / "s"))
    link.settimeout(5)
    yield link
    link.close()


def test_each_word_is_one_datagram(manager, tmp_path):
    """READY, STATUS, WATCHDOG, RELOADING with the clock in microseconds, STOPPING: as sd_notify(3) writes them."""
    notifier = Notifier(str(tmp_path / "s"), clock=lambda: 5_000_000_999)
    for say in (
        lambda: notifier.ready("up"),
        lambda: notifier.status("busy"),
        notifier.watchdog,
        notifier.reloading,
        notifier.stopping,
    ):
        say()
    heard = [manager.recv(4096).decode() for _ in range(5)]
    assert heard == [
        "READY=1\nSTATUS=up",
        "STATUS=busy",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=5000000",
        "STOPPING=1\nSTATUS=stopping",
    ]


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_a_status_cannot_add_a_message(text):
    """Whatever stands in a status, it is one line and of bounded length."""
    said = []
    notifier = Notifier("/nowhere")
    notifier._send = lambda *lines: said.extend(lines)
    notifier.status(text)
    assert len(said) == 1 and len(said[0].splitlines()) == 1 and said[0].startswith("STATUS=") and len(said[0]) <= 207


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1"])
def test_without_a_manager_nothing_happens(address):
    """No socket, or one of another kind, is nobody; one that is gone is no error."""
    Notifier.from_environ({"NOTIFY_SOCKET": address}).ready("x")
    assert Notifier.from_environ({"NOTIFY_SOCKET": address})._address == ""
    Notifier.from_environ({"NOTIFY_SOCKET": "/no/such/socket"}).ready("x")


def test_a_manager_that_does_not_read_is_not_waited_for(manager, tmp_path):
    """Far more datagrams than its queue holds are sent without blocking."""
    notifier = Notifier(str(tmp_path / "s"))
    for _ in range(2000):
        notifier.watchdog()
    assert manager.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environ", "beat"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_time(environ, beat):
    """Only when one waits for this very process."""
    assert watchdog_beat(environ, 7) == beat


class Said:
    """A notifier that keeps what it is told."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def watchdog(self) -> None:
        self.words.append("fed")

    def status(self, text: str) -> None:
        self.words.append(text)


async def test_a_watchdog_is_fed_only_while_all_live():
    """Nothing is fed while something fails; what fails stands in the status, once, and feeding goes on when it is mended."""
    answers = [(), ("database writer",), ("database writer",), (), ()]
    done = asyncio.Event()

    async def failing():
        if len(answers) == 1:
            done.set()
        return answers.pop(0) if answers else ()

    said = Said()
    task = asyncio.create_task(feed(said, 0, failing, lambda: "ready"))
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    assert said.words[:7] == ["fed", "ready", "failing: database writer", "fed", "ready", "fed", *said.words[6:7]]


@pytest.fixture
async def store(tmp_path):
    async with Database(tmp_path / "dropdock.db") as database:
        yield Store(database)


async def test_the_pulse_names_what_died(store):
    """A task that ended and a watcher whose thread ended are named; nothing is while all live."""
    dead = asyncio.create_task(asyncio.sleep(0), name="feed")
    await dead
    living = asyncio.create_task(asyncio.sleep(60), name="intake")
    assert await Pulse(store, lambda: [living], lambda: ()).failing() == ()
    assert await Pulse(store, lambda: [living, dead], lambda: ("inbox",)).failing() == ("task feed", "watcher of inbox")
    living.cancel()


async def test_the_pulse_finds_a_writer_that_hangs(store):
    """A writer that is stuck in its thread is named within the patience, not waited for."""
    import threading

    go = threading.Event()
    stuck = asyncio.create_task(store.db.write(lambda c: go.wait(30)))
    await asyncio.sleep(0)
    pulse = Pulse(store, lambda: (), lambda: (), patience=0.05)
    assert await pulse.failing() == ("database writer (TimeoutError)",)
    go.set()
    await stuck
    assert await Pulse(store, lambda: (), lambda: ()).failing() == ()
