"""Events of rollouts and devices as CloudEvents, and the webhooks that send them."""
