"""What the device says back: reports, telemetry, captured rows."""
