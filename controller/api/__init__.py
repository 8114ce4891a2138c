"""The HTTP edge, and the only room that knows HTTP: routes, authentication, status codes of errors, OpenAPI."""
