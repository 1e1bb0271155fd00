"""GROUND: what things are and what should happen. Pure functions over values; only readers/ opens files, within bounds."""
