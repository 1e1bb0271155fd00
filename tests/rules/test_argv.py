"""No dropped file's name is run: placeholders stand where a program reads data, never where it reads code."""

import pytest
from dropdock.rules.argv import dangers

FINE = [
    ["notify-send", "{name}"],
    ["sh", "-c", 'echo "$1"', "sh", "{path}"],
    ["sh", "-c", "echo {{path}}"],
    ["python3", "script.py", "-c", "{name}"],
    ["/usr/bin/env", "python3", "/opt/x.py", "{path}"],
    ["rsync", "-e", "{name}"],
    ["grep", "-c", "{stem}", "{path}"],
    ["bash", "{path}"],
]
CODE = [
    (["sh", "-c", "echo {path}"], 2),
    (["/bin/bash", "-lc", "x '{name}'"], 2),
    (["env", "bash", "-e", "-c", "{name}"], 4),
    (["/usr/bin/python3.11", "-I", "-c", "print('{stem}')"], 3),
    (["perl", "-e", "{type}"], 2),
    (["node", "--eval", "'{name}'"], 2),
    (["C:\\Windows\\System32\\cmd.exe", "/c", "del {name}"], 2),
    (["pwsh", "-Command", "rm {path}"], 2),
]


@pytest.mark.parametrize("argv", FINE, ids=" ".join)
def test_data_may_have_placeholders(argv: list[str]) -> None:
    """Arguments of their own, options of a script, braces that are written twice."""
    assert list(dangers(argv)) == []


@pytest.mark.parametrize(("argv", "at"), CODE, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_code_may_not(argv: list[str], at: int) -> None:
    """Whatever the interpreter, and whatever stands before it; the answer says how to write it."""
    ((found, said, mend),) = dangers(argv)
    assert found == at and "as code" in said and argv[at - 1] in mend


def test_the_program_is_of_the_configuration() -> None:
    """A file must not say what is run."""
    assert [at for at, _, _ in dangers(["{name}", "x"])] == [0]
    assert [at for at, _, _ in dangers(["/opt/{stem}", "{name}"])] == [0]
