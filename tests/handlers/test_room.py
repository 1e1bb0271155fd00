"""Room: granted piece by piece, and a full disk is told from any other error."""

import errno
import shutil

import pytest
from dropdock.handlers.disk import NoRoom
from dropdock.handlers.room import Room, full_is_no_room


def test_room_is_granted_piece_by_piece(tmp_path, monkeypatch):
    """What is granted and not yet written counts as used; what was written is counted by the disk itself."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 0, 100))
    room = Room(tmp_path, 10)
    room.ask(60)
    with pytest.raises(NoRoom):
        room.ask(31)
    room.ask(30)
    room.done(60)
    room.ask(60)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_turns_out_full_is_no_room(code):
    """Whoever is told NoRoom tries again later; other errors stay what they are."""
    with pytest.raises(NoRoom, match="a/file"), full_is_no_room():
        raise OSError(code, "full", "a/file")
    with pytest.raises(PermissionError), full_is_no_room():
        raise OSError(errno.EACCES, "no", "a/file")
