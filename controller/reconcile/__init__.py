"""From messages to twins to decisions: the world, the fold of messages, and the one pass that makes it durable."""
