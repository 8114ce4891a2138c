"""The top layer: simulated flash, power and world around the agent that ships. Runs the real `agent.Agent`.

For now: one device, every power cut. The fleet in virtual time grows from here.
"""

import logging

logging.getLogger("edgeward").setLevel(logging.CRITICAL)  # a simulated device's log is its history
