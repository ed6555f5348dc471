"""Tokenizers and models: built, loaded, and shaped for packed rows."""
