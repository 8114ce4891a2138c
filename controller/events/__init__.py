"""What happened, as CloudEvents, and the webhooks that carry them."""
