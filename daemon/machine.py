"""Machine: the facts of this computer that the doctor judges: mounts, limits, packages. Only looked at, never changed.

What must hold: every question has an answer on every platform, None or empty where there is nothing to know; nothing heavy is imported
into this process: what a GPU library says of itself is asked in a child.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import psutil

NETWORK = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "afpfs",
        "9p",
        "ceph",
        "glusterfs",
        "lustre",
        "afs",
        "fuse.sshfs",
        "fuse.rclone",
        "webdav",
    )
)  # file systems whose other side can change without an event, and where SQLite's WAL has no shared memory
ASK_PROVIDERS = "import onnxruntime as o; print('\\n'.join(o.get_available_providers()))"
PACKAGES = ("onnxruntime", "onnxruntime-gpu", "llama-cpp-python", "systemd-python", "huggingface_hub")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: where, and of what kind."""

    point: Path
    kind: str

    @property
    def network(self) -> bool:
        """Whether the disk is another machine's."""
        return self.kind in NETWORK


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found. `watch_limit` is inotify's max_user_watches; `linger` None where systemd keeps no such list."""

    mounts: tuple[Mount, ...] = ()
    watch_limit: int | None = None
    packages: Mapping[str, str] = field(default_factory=dict)  # of PACKAGES: name -> version
    providers: tuple[str, ...] | None = None  # of onnxruntime; None when it is not installed, or cannot be loaded
    linger: bool | None = None

    def mount_of(self, path: Path) -> Mount:
        """The file system that a path lies on, or would lie on."""
        real = Path(os.path.realpath(path))
        holding = [m for m in self.mounts if real.is_relative_to(m.point)]
        return max(holding, key=lambda m: len(m.point.parts), default=Mount(Path(real.anchor), "unknown"))


def look() -> Machine:
    """This machine, now."""
    packages = dict(filter(None, map(_version, PACKAGES)))
    runtime = any(name.startswith("onnxruntime") for name in packages)
    mounts = tuple(Mount(Path(p.mountpoint), p.fstype.lower()) for p in psutil.disk_partitions(all=True))
    return Machine(mounts, _watch_limit(), packages, _providers() if runtime else None, _linger())


def _version(package: str) -> tuple[str, str] | None:
    try:
        return package, metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _providers() -> tuple[str, ...] | None:
    """Asked in a child: a broken CUDA set-up may crash whoever loads it, and a good one takes memory."""
    try:
        answer = subprocess.run([sys.executable, "-c", ASK_PROVIDERS], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return tuple(answer.stdout.split())


def _watch_limit() -> int | None:
    try:
        return int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
    except (OSError, ValueError):
        return None


def _linger() -> bool | None:
    """Whether user services run while nobody is logged in: systemd keeps a file a user."""
    kept = Path("/var/lib/systemd/linger")
    user = os.environ.get("USER", "")
    return (kept / user).exists() if user and kept.is_dir() and shutil.which("loginctl") else None
