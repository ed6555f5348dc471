"""Knowledge graphs: passages, triples found in them, entities made one, files, questions, pictures."""
