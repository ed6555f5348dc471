"""Using what was trained: opening it, writing, predicting, scoring."""
