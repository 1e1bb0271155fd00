"""FACE: views only. Answers HTTP from the store and asks the daemon for changes through small Protocols."""
