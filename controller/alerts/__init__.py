"""Alerts: rules over facts about the fleet, and what becomes of what they find. Pure: facts in, alerts out."""
