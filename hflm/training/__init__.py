"""Running the engine for every job that trains: its numbers, its steps, what it began with."""
