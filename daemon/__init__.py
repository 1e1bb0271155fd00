"""LIFE: time, order, processes, the command line. Only app.py here knows every other room."""
