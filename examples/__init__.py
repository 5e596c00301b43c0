"""What a user's own code looks like. Nothing here imports any room but ``antiphon``."""
