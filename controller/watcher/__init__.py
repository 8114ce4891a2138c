"""Watches devices by their vitals: what is unusual for a device, compared with its own past and its stratum."""
