"""Alembic's folder: ``env`` runs the migrations, ``versions`` holds them in order."""
