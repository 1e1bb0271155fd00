"""hold, tag and deploy: actions that change no file. They only say what the store should remember."""

from __future__ import annotations

from ..rules.terms import End, Ended, Outcome, Prepared, Status
from .task import Simple, Task, Tools, skipped


class Hold(Simple):
    """hold: "reason" - stop here and wait for a person. A unit that was taken in already (an empty `unit`) only gets the note."""

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        reason = task.action.text("reason", "held by a rule")
        ended = tuple(Ended(path, End.HELD, path, reason) for path in task.unit)
        return Prepared(Outcome(Status.DONE, reason, ended=ended))


class Tag(Simple):
    """tag: [words]."""

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        tags = task.action.params.get("tags")
        words = tags if isinstance(tags, tuple) else tuple(filter(None, str(tags or "").split(",")))
        return Prepared(Outcome(Status.DONE, ", ".join(words), tags=tuple(words)))


class Deploy(Simple):
    """deploy: the model is wanted by targets from now on; the projection makes the links."""

    needs_digest = True

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if task.digests is None or task.kept is None:
            return skipped("only a model that is kept in the hub can be deployed: put `store` before `deploy`")
        named = task.action.params.get("targets")
        targets = named if isinstance(named, tuple) else ()
        note = f"wanted by {', '.join(targets) or 'the targets'}"
        return Prepared(Outcome(Status.DONE, note, deploy=(task.digests.sha256,), targets=targets))
