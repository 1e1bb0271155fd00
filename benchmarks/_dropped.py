"""One picture dropped into a daemon that has nothing else to do, its tagger warm: from the rename into the inbox to its sidecar."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from _bench import check, scratch
from _library import Process, daemon, healthy

SETTLE = 2.0  # seconds: the default
WARM = 2  # pictures before the first that counts: the model is loaded for them
CALM = 1.5  # seconds between two drops
CONFIG = """
data_dir: {root}/data
hub: {root}/hub
datasets: {root}/datasets
free_space: 1 MB
server: {{host: 127.0.0.1, port: 0}}
watch: [{{path: {root}/inbox, mode: inbox, pipeline: inbox, settle: 2 s}}]
pipelines:
  inbox:
    - name: pictures
      when: {{kind: image}}
      do: [{{dataset: pets}}, {{caption: {{with: tagger, set: tags, only: missing}}}}]
captioners:
  tagger: {{engine: onnx, models: ["{model}"], device: cpu}}
"""


@dataclass(frozen=True)
class Place:
    """Where a daemon lives, as _library.py starts one."""

    root: Path
    config: Path


def beyond(model: Path, pictures: Sequence[Path], work: Callable[[Path], object]) -> list[float]:
    """Seconds from each drop to its sidecar, less the settle time and less what `work` (decode and run alone) takes for that picture."""
    with scratch() as root:
        (root / "inbox").mkdir()
        config = root / "config.yaml"
        config.write_text(CONFIG.format(root=root, model=model), encoding="utf-8")
        place = Place(root, config)
        process = daemon(place)  # type: ignore[arg-type]  # all it asks for
        try:
            process.wait_for(healthy(place))  # type: ignore[arg-type]
            time.sleep(CALM)
            return [_dropped(process, place, n, path) - _alone(work, path) for n, path in enumerate(pictures)][WARM:]
        finally:
            process.stop()


def _alone(work: Callable[[Path], object], path: Path) -> float:
    begun = time.perf_counter()
    work(path)
    return time.perf_counter() - begun


def _dropped(process: Process, place: Place, n: int, path: Path) -> float:
    copy, text = place.root / path.name, place.root / "datasets" / "pets" / f"drop{n}.txt"
    shutil.copyfile(path, copy)
    begun = time.perf_counter()
    copy.rename(place.root / "inbox" / f"drop{n}{path.suffix}")
    process.wait_for(text.exists)
    took = time.perf_counter() - begun - SETTLE
    check(took > 0, f"{path.name} was captioned before it had settled")
    time.sleep(CALM)
    return took
