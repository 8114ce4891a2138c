"""The watcher: names that its trainer, the client, and its user, the controller, share."""

WATCHER = "fleet-watcher"
"""The model in the registry whose newest passed version judges the vitals of devices."""
THRESHOLD = "threshold"
"""The metric of its versions beyond which a score is a departure: without it a version judges nothing."""
QUIET_H = 12
"""Hours over the threshold with fewer quiet hours between them are one alert, so that a person is notified once."""
