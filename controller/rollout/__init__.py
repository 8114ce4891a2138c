"""The pure rollout engine: plan the waves, decide the next step, analyse evidence. Facts in, actions out, idempotent.

Read `model.py` first, then `decide.py`.
"""
