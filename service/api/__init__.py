"""HTTP: the endpoints, what is checked of a request, and the answers. The only room that knows Starlette."""
