"""The pure rollout engine: plan the waves, decide the next step, analyse evidence. It takes facts and returns
actions, and is idempotent.

Read `model.py` first, then `decide.py`.
"""
