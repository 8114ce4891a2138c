"""People who sign in with an OpenID provider: what is asked of it, and what its answers are worth."""
