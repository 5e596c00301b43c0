"""Remembers: the database engine, its tables and migrations, the group-commit writer, the live port."""
