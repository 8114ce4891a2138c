"""The server program: converts, verifies and versions models, decides rollouts, publishes over MQTT.

Data flows api -> convert -> gates -> registry -> rollout -> publish -> link, and back link -> fleet -> reconcile.
Never imports the agent.
"""
