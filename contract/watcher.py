"""The watcher: names that the client which trains it and the controller which asks it have in common."""

WATCHER = "fleet-watcher"
"""The model of the registry whose newest passed version judges the vitals of devices."""
THRESHOLD = "threshold"
"""The metric of its versions beyond which a score is an alert: without it a version judges nothing."""
QUIET_H = 12
"""Hours over a threshold with fewer quiet hours between them are one alert: a person is told once."""
