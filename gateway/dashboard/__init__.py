"""The ops dashboard: what happened, why, and what to do about it, for whoever is on call.

Pages are rendered here and work without a script; htmx keeps open pages current.
``story``, ``graph``, ``progress`` and ``axis`` are pure: rows in, layout out.
"""
