"""What a model does with one text: its attention, its answer, and what in the text led to it."""
