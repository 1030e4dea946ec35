"""The built-in engine: one SQLite file, every write one function in one transaction under one flock."""
