"""Side-by-side measurements of hflm and of the plain Trainer; `make bench` runs them all."""
