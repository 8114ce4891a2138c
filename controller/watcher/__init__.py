"""Watches devices by their vitals: what is unusual for a device, beside its own past and its kind."""
