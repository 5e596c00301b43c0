"""What everybody agrees on: messages, contracts, errors. Imports nothing of ours."""
