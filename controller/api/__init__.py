"""The HTTP edge, and the only place that knows HTTP: routes, authentication, errors to status codes, OpenAPI."""
