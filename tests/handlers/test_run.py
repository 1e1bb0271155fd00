"""run: arguments are never a shell's, the environment is small, and what hangs is killed with its children."""

import os
import sys
import time

import pytest
from dropdock.handlers import run
from dropdock.handlers.hashing import Cancelled
from dropdock.handlers.task import Failure
from dropdock.rules.actions import PATH_MARK, rendered
from dropdock.rules.terms import Action, Status
from hands import Desk


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_a_hostile_name_is_one_argument(desk):
    """Quotes, semicolons, line ends and `{path}` in a file's name reach the program as they are, in one argument."""
    lead = desk.put("a; touch HACKED $(x) '\"\n{path}.bin", b"1")
    code = "import sys; print(len(sys.argv), sys.argv[1].endswith('/' + sys.argv[2]), sys.argv[3])"
    action = Action("run", {"argv": (sys.executable, "-c", code, "{path}", "{name}", "<{name}>"), "timeout": 20.0})
    task = desk.task("run", lead)
    filled = rendered(action, task.facts, None, 0.0)
    assert filled.params["argv"][3] == PATH_MARK
    outcome = desk.do(desk.task("run", lead, params=dict(filled.params)))
    assert outcome.status is Status.DONE and outcome.note.startswith("4 True <a; touch")
    assert not (desk.inbox / "HACKED").exists()


def test_the_environment_holds_nothing_of_ours(desk):
    """Only the plain variables are handed on."""
    said = run.call(
        [sys.executable, "-c", "import os; print(sorted(os.environ))"], 20.0, desk.tools, {"PATH": "/bin", "SECRET": "x"}
    )
    assert "SECRET" not in said and "PATH" in said


@pytest.mark.parametrize(
    ("code", "why"),
    [("raise SystemExit(3)", "failed with 3"), ("import time; print('hm', flush=True); time.sleep(60)", "longer than")],
)
def test_what_fails_or_hangs_is_a_failure_with_its_last_words(desk, code, why):
    """An exit code other than 0, and a program that takes too long."""
    with pytest.raises(Failure, match=why):
        run.call([sys.executable, "-c", code], 0.8, desk.tools)


def test_what_cannot_be_started_says_so(desk):
    """No such program."""
    with pytest.raises(Failure, match="cannot be started"):
        run.call(["/no/such/program"], 5.0, desk.tools)


@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX")
def test_children_end_with_it(desk, tmp_path):
    """A child that holds the pipe does not outlive the timeout: the whole group is killed."""
    code = "import os,sys,time; pid = os.fork(); open(sys.argv[1], 'a').write(f'{os.getpid()} '); time.sleep(60)"
    with pytest.raises(Failure):
        run.call([sys.executable, "-c", code, str(tmp_path / "pids")], 1.0, desk.tools)
    pids = [int(p) for p in (tmp_path / "pids").read_text().split()]
    end = time.monotonic() + 5
    while any(_lives(pid) for pid in pids) and time.monotonic() < end:  # the kernel takes a moment
        time.sleep(0.01)
    assert pids and not any(_lives(pid) for pid in pids)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_cancelling_ends_it(desk):
    """The lane's tick raises, and the program does not go on."""
    from dataclasses import replace

    def tick(_):
        raise Cancelled("x")

    with pytest.raises(Cancelled):
        run.call([sys.executable, "-c", "import time; time.sleep(60)"], 30.0, replace(desk.tools, tick=tick))


def test_only_the_end_of_the_output_is_kept(desk):
    """Four kilobytes, the last ones."""
    said = run.call([sys.executable, "-c", "print('x' * 100_000 + 'end')"], 20.0, desk.tools)
    assert len(said) <= run.OUTPUT and said.endswith("end")
