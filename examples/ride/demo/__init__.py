"""The demo: sends real trips through the house over HTTP, breaks things, and audits the books."""
