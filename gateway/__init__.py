"""HTTP in, ops dashboard out.

app.py         makes the application: routes, middleware, problem details
platform.py    what the rest of the house hands to it
auth.py        keys, roles, and who may do what
routes/        one file per noun of the API
queries/       what is read: plain SQL over the store's tables, always within one workspace
sse.py         live streams, with replay
dashboard/     the pages for operators
"""
