"""The stratum of a device, and whether a version can run on it, before anything is sent.

Decides by the hardware that the device has reported. Refuses to know rollouts.
"""

from collections.abc import Mapping, Sequence

from contract.desired import TrialPolicy
from contract.manifest import Manifest
from contract.wire import Message
from controller.fleet.exclusion import Exclusion
from controller.fleet.pin import pin_words
from controller.fleet.twin import Twin

MAX_MEMORY_RATIO = 0.5
"""The fraction of a device's memory that loading a version may take."""
_ML5_SINCE = (1, 20)
_IR_SINCE = {9: (1, 15), 10: (1, 18), 11: (1, 22)}
"""The first onnxruntime for each version of the file's format; older ones load no such file. Source: the same
page, and `onnx.helper.VERSION_TABLE`."""
_OPSET_SINCE = {15: (1, 10), 16: (1, 11), 17: (1, 12), 18: (1, 14), 19: (1, 15), 20: (1, 17), 21: (1, 18), 22: (1, 21)}
"""The first onnxruntime for each operator set. Source: https://onnxruntime.ai/docs/reference/compatibility.html. A
newer operator set is checked by the probe."""


def stratum_of(twin: Twin, keys: tuple[str, ...]) -> str:
    """Returns the stratum of the device: the values of `keys` joined by "/"."""
    return "/".join(_word(twin, key) for key in keys)


def _word(twin: Twin, key: str) -> str:
    hardware = twin.hardware
    if key in twin.labels or hardware is None:
        return twin.labels.get(key, "unknown")
    match key:
        case "machine":
            return hardware.machine
        case "memory":
            return _memory_class(hardware.memory_mb)
        case "cpus":
            return f"{hardware.cpus}-cpus"
        case "runtime":
            return f"onnxruntime-{hardware.onnxruntime}"
        case _:
            return "unknown"


def _memory_class(memory_mb: int) -> str:
    """Returns the size class: the power of two of which the memory is at least three quarters, because kernels keep a
    part.
    """
    size = 128
    while size * 1.5 < memory_mb:
        size *= 2
    return f"{size}MB"


class Form(Message, frozen=True):
    """The requirements of one form of a version."""

    name: str
    """`fp16`, `int8`; "" for the full version."""
    digest: str
    artifact_bytes: int
    golden_bytes: int
    release: int
    hardware: tuple[str, ...]
    memory_mb: int
    opset: int
    ml_opset: int
    ir: int = 0
    """The version of the file's format; 0: unknown, in records that are older than this field."""


def forms_of(manifest: Manifest) -> tuple[Form, ...]:
    """Returns the forms of a version in the order of preference."""
    return tuple(
        Form(
            name=name,
            digest=form.artifact.sha256,
            artifact_bytes=form.artifact.length,
            golden_bytes=form.golden.blob.length,
            release=form.release,
            hardware=form.hardware,
            memory_mb=form.limits.memory_mb,
            opset=form.runtime.opset,
            ml_opset=form.runtime.ml_opset,
            ir=form.runtime.ir,
        )
        for name, form in zip(("", *(each.name for each in manifest.variants)), manifest.forms, strict=True)
    )


def choose_form(
    twin: Twin, model: str, forms: Sequence[Form], policy: TrialPolicy, quarantined: Mapping[str, str]
) -> tuple[Form | None, Exclusion | None]:
    """Returns (the first form that fits, None); if none fits, (None, why the first one does not fit, and the number
    of other forms).
    """
    reasons = []
    for form in forms:
        reason = why_unfit(twin, model, form, policy, quarantined)
        if reason is None:
            return form, None
        reasons.append(reason)
    others = f"; nor does any of {len(reasons) - 1} smaller variants fit" if len(reasons) > 1 else ""
    return None, reasons[0].with_words(others) if reasons else None


def why_unfit(
    twin: Twin, model: str, form: Form, policy: TrialPolicy, quarantined: Mapping[str, str]
) -> Exclusion | None:
    """Returns why a device cannot run this form; None if it can."""
    if (rollout := quarantined.get(form.digest)) is not None:
        words = f"quarantined: it failed there in {rollout}; `edgeward device unquarantine {twin.device}` lifts that"
        return Exclusion("quarantined", words)
    own, pin = twin.pinned.get(model, form.release), twin.pins.get(model)
    if own != form.release:
        return Exclusion("pinned", f"pinned at v{own} by the device's own configuration")
    if pin is not None and pin.release != form.release:
        words = f"{pin_words(pin)}; `edgeward device unpin {twin.device} --model {model}` ends that"
        return Exclusion("pinned", words)
    stable = twin.reported[model].stable if model in twin.reported else None
    if policy.mode == "shadow" and stable is None:
        return Exclusion("nothing_serves", "no version serves, so a shadow has nothing to run beside")
    words = _unfit_hardware(twin, form, policy)
    return Exclusion("hardware", words) if words else None


def _unfit_hardware(twin: Twin, form: Form, policy: TrialPolicy) -> str:
    hardware = twin.hardware
    if hardware is None:
        return ""
    if hardware.machine not in form.hardware:
        return f"{hardware.machine}: released for {', '.join(form.hardware)}"
    if form.memory_mb > hardware.memory_mb * MAX_MEMORY_RATIO:
        return f"{hardware.memory_mb} MB of memory: the version may take {form.memory_mb} to load"
    if policy.require_sandbox and hardware.sandbox != "landlock+seccomp":
        return f"sandbox {hardware.sandbox or 'none'}: the strategy requires a complete one"
    ml_needed = _ML5_SINCE if form.ml_opset >= 5 else (0, 0)
    needed = max(_OPSET_SINCE.get(form.opset, (0, 0)), _IR_SINCE.get(form.ir, (0, 0)), ml_needed)
    if _major_minor(hardware.onnxruntime) < needed:
        return f"onnxruntime {hardware.onnxruntime}: the version needs {needed[0]}.{needed[1]}"
    return ""


def _major_minor(version: str) -> tuple[int, int]:
    parts = version.split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return (10**6, 0)  # for a build with another name the probe decides
