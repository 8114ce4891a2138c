"""Messages to the controller: reports, telemetry, captured rows."""
