"""Workers with real processes: the real CLI, the real database, real signals."""
