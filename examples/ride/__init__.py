"""A ride in New York, from the request to the receipt: the main example.

============  ======================================================================
``contracts`` what is said: requests, commands, results, events (JSON Schema)
``flow``      the core of it, in strict order: quote, match, authorize, dispatch, …
``fare``      what a ride costs; a quote, and its withdrawal
``drivers``   steps that run in the orchestrator: matching, releasing, dispatching
``payments``  a service of its own: authorize, void, capture
``reactors``  what follows on its own: mail, receipts, earnings, statistics
``ledger``    the services' own books, in their own SQLite file
``rules``     which cards are declined, which zones are dry: by the trip alone
``trips``     real trips of the city's taxis, turned into requests
``app``       the few lines that make all of it one app
``demo/``     sends the trips, breaks things, and audits the books
============  ======================================================================
"""
