"""Trains the watcher of a fleet: the model that judges the vitals of its devices."""
