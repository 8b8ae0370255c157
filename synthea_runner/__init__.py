"""Makes clean synthetic populations: runs Synthea, converts its CSV to typed Parquet."""
