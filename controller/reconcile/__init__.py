"""From messages to twins to rollout decisions: the world, the fold of messages, and the one pass that makes it
durable."""
