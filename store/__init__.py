"""MEMORY: all SQL. One SQLite database, one writer with group commit, numbered migrations."""
