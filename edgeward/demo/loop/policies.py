"""The demo's two policies: when the model is trained again, and how a version reaches the fleet.

Decides limits for a world in which an hour passes in 25 ms. Refuses to know how the demo reacts to them.
"""

from typing import Any

RETRAINING: dict[str, Any] = {
    "look_s": 1.0,
    "triggers": {"every_s": 0.0, "new_labels": 0, "decay": True},
    "quality": {"block_s": 60.0, "reference_blocks": 1, "recent_blocks": 1, "min_labels": 400, "tolerated": 0.1},
    "limits": {"cool_down_s": 10.0, "budget": 3, "run_s": 60.0, "silent_s": 20.0},
    "costs": {"horizon_s": 600.0},
    "champion": {"blocks": 8, "never_forget_required": True},
}
_TRIAL = {
    "soak_s": "4",
    "give_up_s": "60",
    "min_samples": 20,
    "judged_inferences": 200,
    "max_accuracy_drop": "0.3",
    "shadow_share": "1",
    "max_shadow_cpu": "0.5",
}
_FAILED = {"metric": "failed_ratio", "threshold": 0.0}
_FIRST_TRIAL = _TRIAL | {"soak_s": "1", "min_samples": 0}
ALL = {"name": "all_at_once", "waves": [{"percent": 100}], "rules": [_FAILED], "trial": _FIRST_TRIAL}
SHADOW_THEN_CANARY = {
    "name": "shadow_then_canary",
    "waves": [
        {"percent": 20, "mode": "shadow", "soak_s": 1.0},
        {"percent": 20, "soak_s": 1.0},
        {"percent": 100},
    ],
    "rules": [_FAILED],
    "trial": _TRIAL,
}
