"""The server program: converts, verifies and versions models, decides rollouts, publishes over MQTT.

A request goes api -> verbs -> convert, gates, registry. A pass goes broker -> reconcile (fleet, rollout) -> registry ->
broker. The floors of the rooms are a contract in pyproject.toml.
Never imports the agent.
"""
