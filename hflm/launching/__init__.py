"""Starting the ranks of a run, watching over them, and saying what the first one to fail failed of."""
