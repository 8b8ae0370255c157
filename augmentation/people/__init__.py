"""Registration records at any size, without clinical events and without Synthea: for speed and scale."""
