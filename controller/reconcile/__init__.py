"""From messages to twins to rollout decisions: the world, how it is folded, and the one pass that makes it durable."""
