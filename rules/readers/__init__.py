"""Readers: the only modules of rules/ that open files, read-only and bounded in bytes, count, depth and time."""
