"""One file a model head: collate, loss, score."""
