"""HTTP: the one room that knows requests and status codes. What is decided, is decided in other rooms.

`tokens` says who may do what, `bodies` reads what is sent within limits, `running` puts an app on a
socket and drops who is too slow, `statuses` gives each error its status. Needs the extra `server`.
"""
