"""The watcher: names that its trainer, the client, and its user, the controller, share."""

WATCHER = "fleet-watcher"
"""The model in the registry whose newest passed version judges the vitals of devices."""
THRESHOLD = "threshold"
"""The metric of its versions that holds the threshold of a departure: a version without it is not used."""
QUIET_H = 12
"""Hours above the threshold with fewer normal hours between them are one alert, so that a person is notified once."""
