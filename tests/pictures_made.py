"""Makers of real picture files and archives for tests."""

import io
import random
import zipfile
from pathlib import Path

from PIL import Image


def picture(seed: int = 0, size: tuple[int, int] = (320, 280), form: str = "PNG", exif_orientation: int | None = None) -> bytes:
    """A picture of soft random patches: different seeds look different, the same seed is the same bytes."""
    rng = random.Random(seed)
    small = Image.new("RGB", (9, 8))
    small.putdata([tuple(rng.randrange(256) for _ in range(3)) for _ in range(72)])
    image = small.resize(size, Image.Resampling.BICUBIC)
    out = io.BytesIO()
    extra = {}
    if exif_orientation:
        exif = Image.Exif()
        exif[274] = exif_orientation
        extra["exif"] = exif
    image.save(out, form, **extra)
    return out.getvalue()


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A ZIP of these members, in order."""
    with zipfile.ZipFile(path, "w", compression) as z:
        for name, data in members.items():
            z.writestr(name, data)
    return path


def tree(root: Path) -> dict[str, int | str]:
    """Every file and link below a folder: relative path -> size, or `-> target`. Our own folders are left out."""
    found: dict[str, int | str] = {}
    for path in sorted(root.rglob("*")):
        rel = path.relative_to(root)
        if ".dropdock" in rel.parts:
            continue
        if path.is_symlink():
            found[str(rel)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(rel)] = path.stat().st_size
    return found
