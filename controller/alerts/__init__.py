"""Alerts: rules over facts about the fleet, and the states of their findings. Pure: facts in, alerts out."""
