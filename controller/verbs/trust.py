"""What people can do with trust metadata: offer documents that were signed elsewhere, make a key, see the documents
that wait for a signature.

Decides when the release key on this controller may sign. Refuses to know how documents are followed.
"""

from securesystemslib.signer import Key

from contract.errors import BadInput, Code
from contract.manifest import Manifest
from controller.clock import stamp, today
from controller.reconcile.deeds import Deed
from controller.state import State
from controller.trust.keys import make_next
from controller.trust.rotation import Role
from controller.verbs import audit


def accept_metadata(state: State, files: dict[str, str], *, actor: str) -> list[str]:
    """Accepts documents that were signed elsewhere; returns the names of new ones.

    BadInput with the kind of fault; then nothing has changed.
    """
    taken = state.trust_metadata.accept(files, today())
    state.trust_changed = True
    state.journal.audit(stamp(), actor, "trust accept", ", ".join(taken)[:300])
    state.poke()
    return taken


def make_key(state: State, role: str, *, actor: str) -> Key:
    """Makes the next key of an online role; its private half never leaves the controller."""
    signer = make_next(state.config.data_dir / "keys", role, today())
    state.trust_metadata.keys.add(signer)
    public = signer.public_key
    state.journal.audit(stamp(), actor, "trust key", role, public.keyid)
    return public


def rotate(state: State, role: Role, *, actor: str) -> Key:
    """Replaces the key of a role in a fleet whose keys are here; returns the new public key. BadInput
    `signature_invalid`.
    """
    keys, now = state.config.data_dir / "keys", today()
    made = state.trust_metadata.rotate(role, lambda name: make_next(keys, name, now), now)
    state.trust_changed = True
    state.journal.audit(stamp(), actor, "trust rotate", role, made.keyid)
    state.poke()
    return made


def sign(state: State, model: str) -> bool:
    """Signs with the release key on this controller, if there is one, what passed its gates; False if a person must
    sign.
    """
    before = state.trust_metadata.signed(model)
    signed = state.publisher.vouch(model, state.in_use(model), today())
    state.trust_changed |= signed
    if new := sorted(state.trust_metadata.signed(model) - before):
        releases = ", ".join(f"v{release}" for release in new)
        audit.note(state, Deed("trust sign", model, f"{releases} passed and the release key is here"))
    return signed


def unsigned(state: State, model: str) -> list[int]:
    """Returns releases that passed their gates and that no release signer has signed."""
    return sorted(set(state.publisher.manifests(model, state.in_use(model))) - state.trust_metadata.signed(model))


def proposal(state: State, model: str) -> dict[int, Manifest]:
    """Returns what a release signer is asked to sign, by release. BadInput `unknown_model`, `gates_not_passed`."""
    manifests = state.publisher.manifests(model, state.in_use(model))
    if not manifests:
        raise BadInput(Code.GATES_NOT_PASSED, f"no version of {model} has passed its gates")
    return manifests
