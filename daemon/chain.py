"""A chain: the actions of a job in their order, as its payload keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..rules.terms import Action, Job, Param


@dataclass(frozen=True, slots=True)
class Chain:
    """The actions of a job and how far it came."""

    actions: tuple[Action, ...]
    step: int

    @classmethod
    def of(cls, job: Job) -> Chain:
        """The chain that a job's payload holds."""
        raw = job.payload["actions"]
        assert isinstance(raw, list)
        return cls(tuple(Action(a["verb"], _params(a.get("params", {}))) for a in raw), int(str(job.payload["step"])))

    def after(self, job: Job, step: int) -> Mapping[str, object] | None:
        """The payload once `step` is done; None when that was the last."""
        return {**job.payload, "step": step + 1} if step + 1 < len(self.actions) else None


def _params(raw: Mapping[str, object]) -> dict[str, Param]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}  # type: ignore[misc]
