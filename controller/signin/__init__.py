"""Sign-in of people with an OpenID provider: its requests, and the checks of its answers."""
