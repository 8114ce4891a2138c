"""The HTTP edge, and the only package that uses HTTP: routes, authentication, status codes of errors, OpenAPI."""
