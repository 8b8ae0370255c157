"""Patient records in, a Master Patient Index out: one row per person, with the proof for every link."""

__version__ = "0.1.0"
