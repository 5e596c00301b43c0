"""The API: one file per noun, each with a ``router``."""
