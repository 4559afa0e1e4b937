"""HTTP: the endpoints, the checks of requests, and the answers. Of the rooms that hold rules, the only one that knows
Starlette."""
