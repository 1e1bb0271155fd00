"""Datasets to be captioned in a house: a home with captioners, a ZIP dropped and unpacked, and what lies beside the pictures then."""

from __future__ import annotations

from dataclasses import replace

from house_made import Home, Opened
from pictures_made import zipped

MORE = """
captioners:
  text: {{engine: simple, text: "a text"}}
  odd: {{engine: simple, text: "a text"}}
pipelines:
  inbox:
    - name: zips
      when: {{kind: archive}}
      do: [{{unpack: {{dataset: "{{stem}}"}}}}]
    - name: pictures
      when: {{kind: image}}
      do: [{{dataset: "{{parent}}"}}, {{caption: {{with: {captioner}, set: {set}}}}}]
"""


def home_of(tmp_path, captioner: str = "text", set: str = "main") -> Home:
    return Home(tmp_path, MORE.format(captioner=captioner, set=set))


async def take(house: Opened, members: dict[str, bytes], name: str = "cats") -> None:
    """A ZIP dropped and unpacked; its captions wait."""
    path = zipped(house.home.inbox / f"{name}.zip", members)
    await house.arrive(path)
    await house.work()


def texts(home: Home) -> dict[str, str]:
    places = (p for p in home.datasets.iterdir() if p.name != ".dropdock")  # staging comes and goes as we look
    return {p.name: p.read_text() for place in places for p in place.rglob("*.txt")}


def odd_engine(house: Opened, **options: object) -> None:
    """Have the captioner `odd` be of the engine that only tests/odd_worker.py knows."""
    config = house.house.config
    odd = replace(config.captioners["odd"], engine="odd", options=options)
    house.house.config = replace(config, captioners={**config.captioners, "odd": odd})
