"""What is read: plain SQL over the store's tables, one noun a file.

Each function takes a connection and a workspace, runs in ``Database.read``, and returns what is in
that workspace only. The API and the dashboard use the same ones.
"""
