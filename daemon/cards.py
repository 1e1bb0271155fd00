"""The graphics cards of this machine, as NVIDIA's own library tells of them (the extra `nvidia`; without it there is none to ask).

What must hold: a machine without a card, a driver or the package has no cards, and nobody hears an exception of it; asking takes
microseconds, and the library is loaded once. NVML: https://docs.nvidia.com/deploy/nvml-api/ (memory in bytes, utilisation in percent).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CardState:
    """One card now: bytes of its memory that are free and in all, and how busy it is, 0..100 %."""

    free: int
    total: int
    busy: int = 0


class Cards(Protocol):
    """The cards of this machine."""

    def count(self) -> int:
        """How many there are."""
        ...

    def state(self, index: int) -> CardState | None:
        """One card now; None when it cannot be asked."""
        ...


class NoCards:
    """A machine without any."""

    def count(self) -> int:
        """None."""
        return 0

    def state(self, index: int) -> CardState | None:
        """There is nothing to ask."""
        return None


class Nvml:
    """The cards of a loaded driver."""

    def __init__(self) -> None:
        """Raises ImportError without the package, OSError or pynvml.NVMLError without a driver."""
        import pynvml  # type: ignore[import-untyped]  # NVIDIA's own binding, without types

        pynvml.nvmlInit()
        self._nvml = pynvml
        self._handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]

    def count(self) -> int:
        """How many the driver knows."""
        return len(self._handles)

    def state(self, index: int) -> CardState | None:
        """One card now; None when the driver does not answer, or there is no such card."""
        if not 0 <= index < len(self._handles):
            return None
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handles[index])
        except self._nvml.NVMLError:
            return None
        try:
            busy = int(self._nvml.nvmlDeviceGetUtilizationRates(self._handles[index]).gpu)
        except self._nvml.NVMLError:  # a card that is shared out in parts (MIG) does not say
            busy = 0
        return CardState(int(memory.free), int(memory.total), busy)


def cards() -> Cards:
    """The cards of this machine, as far as they can be asked."""
    try:
        import pynvml
    except ImportError:
        return NoCards()
    try:
        return Nvml()
    except (pynvml.NVMLError, OSError):
        return NoCards()
