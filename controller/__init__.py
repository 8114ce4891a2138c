"""The server program. It converts, verifies and versions models, decides rollouts, and publishes over MQTT.

A request goes api -> verbs -> convert, gates, registry. A pass goes broker -> reconcile (fleet, rollout) -> registry ->
broker. A contract of import-linter in pyproject.toml says which folder may import which. Never imports the agent.
"""
