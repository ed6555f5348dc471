"""Read, clean, split, encode and pack: files in, rows of tokens out. No model code enters this room."""
