"""The steps of a controller at its first start after a restore: documents, rollouts, policies and trust.

Decides the order: everything is durable before the mark is removed, so that a kill repeats it. Other modules decide
about rollouts, documents and keys. Refuses to know how the backup was restored.
"""

import logging
import time

from controller.clock import stamp, today
from controller.reconcile import restored
from controller.registry.restore import read_mark, remove_mark
from controller.state import State
from controller.trust.keys import make_next
from controller.verbs import policies

_log = logging.getLogger("edgeward.controller")


def take_up(state: State) -> None:
    """Handles a restore of this controller, if there was one. WorldError `disk_full`; then the next start does it.

    BadInput if a key that root names is not in the backup.
    """
    data_dir = state.config.data_dir
    mark = read_mark(data_dir)
    if mark is None:
        return
    devices, ended = restored.take_up(state.world, mark.backed_up_at, time.time())
    state.records.save(state.world.durable, devices, [rollout.id for rollout in ended], ())
    held = policies.hold_back(state)
    unsigned = state.trust_metadata.after_restore(lambda role: make_next(data_dir / "keys", role, today()), today())
    state.trust_changed = True
    words = [f"from the backup of {mark.backed_up_at}", f"{len(devices)} documents issued again"]
    words += [f"ended {', '.join(rollout.id for rollout in ended)}"] if ended else []
    words += [f"policies of {', '.join(held)} wait for the next version"] if held else []
    words += [f"people must sign again: {', '.join(unsigned)}"] if unsigned else []
    state.journal.audit(stamp(), "controller", "restored", mark.restored_at, "; ".join(words)[:500])
    remove_mark(data_dir)
    _log.warning("this controller was restored %s", "; ".join(words))
    if unsigned:
        _log.error("devices refuse what is older than they know until then: see docs/guides/backup-and-restore.md")
