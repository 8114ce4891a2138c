"""Errors by their cause, and the stable codes that are sent with them.

Misuse of our own functions stays ValueError or TypeError. Bad input has a `Code`. The world's faults may be retried.
Refuses to know HTTP: only `controller/api` maps these to a status.
"""

from enum import StrEnum

from contract.protocol import MAX_DETAIL_CHARS


class Code(StrEnum):
    """Every code that a report, a log line or an API answer may carry. The comment says what to do about it."""

    # the wire
    MESSAGE_MALFORMED = "message_malformed"  # not the JSON that the protocol describes: compare both sides' versions
    MESSAGE_TOO_LARGE = "message_too_large"  # larger than the named limit: nothing was read
    PROTOCOL_UNKNOWN = "protocol_unknown"  # the other side speaks another protocol version: upgrade the older one
    NAME_INVALID = "name_invalid"  # choose a name as the detail says: models and devices have other letters
    PATH_INVALID = "path_invalid"  # a signed document names a path outside models/: sign a correct one
    TENSORS_INVALID = "tensors_invalid"  # arrays could not be read: send npz without pickled objects
    # trust
    TRUST_MISSING = "trust_missing"  # no trust bundle has come: does the controller run, may the device read pub/#?
    SIGNATURE_INVALID = "signature_invalid"  # not signed by the keys that root names: forged, or another fleet's root
    METADATA_EXPIRED = "metadata_expired"  # frozen or replayed metadata, or a wrong clock: is the controller alive?
    METADATA_ROLLBACK = "metadata_rollback"  # frozen or replayed metadata, or a wrong clock: does the controller run?
    METADATA_MISMATCH = "metadata_mismatch"  # an older file than one seen before, or not the one that is signed for
    WRONG_DEVICE = "wrong_device"  # document or presence names another device than its topic: who may publish?
    DESIRED_EXPIRED = "desired_expired"  # the document is past its date: does the controller run, is the clock right?
    DESIRED_ROLLBACK = "desired_rollback"  # the broker came back with an older store; if it lasts, it is replayed
    DESIRED_NOT_FRESH = "desired_not_fresh"  # the document does not answer this boot's nonce: replayed, or too early
    BELOW_MIN_RELEASE = "below_min_release"  # the release signer no longer allows this release
    DESIRED_EQUIVOCATION = "desired_equivocation"  # two documents share a version: two controllers, one key?
    NOT_IN_IMAGE_REPO = "not_in_image_repo"  # no release signer has signed the target: release the version first
    IMAGE_MISMATCH = "image_mismatch"  # director and release signer disagree on length or digest: investigate
    WRONG_HARDWARE = "wrong_hardware"  # the version was not released for this machine type: select other devices
    # transfer and store
    TRANSFER_STALLED = "transfer_stalled"  # no chunk came for the stall limit: check the broker and the retained blobs
    CHUNK_INVALID = "chunk_invalid"  # a chunk differs from its signed digest and was dropped
    DIGEST_MISMATCH = "digest_mismatch"  # the assembled blob is not what the manifest names: publish it again
    ENCODING_INVALID = "encoding_invalid"  # an encoded artifact does not decode to its digest: encode it again
    DISK_FULL = "disk_full"  # free space on the device or the controller, as said; the version keeps serving
    DISK_FAILED = "disk_failed"  # the device's disk refused a write: look at its kernel log
    RECORD_CORRUPT = "record_corrupt"  # a record on flash fails its checksum and was set aside
    CLOCK_WRONG = "clock_wrong"  # the device's clock is wrong: give it a time server, or a clock with a battery
    IDENTITY_TAKEN = "identity_taken"  # two devices use one name: stop the copy, or give it another name
    # models
    MODEL_LOAD_FAILED = "model_load_failed"  # onnxruntime refused the file: check opset and runtime of the device
    MODEL_REFUSED = "model_refused"  # the file holds what no model may: external data, foreign operators, bombs
    SANDBOX_MISSING = "sandbox_missing"  # policy asks for a full sandbox and the device's kernel lacks a part of it
    PROBE_FAILED = "probe_failed"  # the probe child died (memory or time limit, crash): look at detail
    PROBE_TIMEOUT = "probe_timeout"  # loading or the golden inputs took too long: a smaller model, a longer limit
    PROBE_MISMATCH = "probe_mismatch"  # golden inputs answer differently on this device than at conversion
    GOLDEN_MISMATCH = "golden_mismatch"  # the session misses its golden set: see docs/concepts/trust.md
    GOLDEN_OVERDUE = "golden_overdue"  # no golden probe could run for days: let updates go on, or look at the flash
    BOOT_BUDGET_SPENT = "boot_budget_spent"  # the trial rebooted the device too often
    HEALTH_ERRORS = "health_errors"  # inferences of the trial raise too often
    HEALTH_LATENCY = "health_latency"  # the trial is slower than its policy allows
    HEALTH_ACCURACY = "health_accuracy"  # the trial is right less often than stable was, beyond chance
    HEALTH_OUTPUT = "health_output"  # the trial answers NaN or infinity too often
    HEALTH_AGREEMENT = "health_agreement"  # the shadow's answers differ from stable's more often than its policy allows
    MEMORY_SHORT = "memory_short"  # the device lacks memory for one more version: push a smaller form
    SHADOW_ALONE = "shadow_alone"  # no version serves beside which a shadow could run: roll a version out first
    UPDATE_HELD = "update_held"  # an application on the device holds updates, at most for max_hold_s
    OUTSIDE_MAINTENANCE = "outside_maintenance"  # the version is ready and waits for the device's maintenance hours
    PINNED = "pinned"  # the device's own configuration pins the model to another release: change [pin] there
    TRIAL_INCONCLUSIVE = "trial_inconclusive"  # too few inferences to judge before the deadline: lower min_samples
    SUPERSEDED = "superseded"  # a newer desired document replaced it
    HEALTH_ERROR_SIZE = "health_error_size"  # the trial's numbers are farther from the labels than stable's were
    HEALTH_REFUSALS = "health_refusals"  # the trial refuses rows that stable takes: its signature is different
    DEVICE_SICK = "device_sick"  # stable fails as much as the trial: check the device, not the version
    SIGNATURE_CHANGED = "signature_changed"  # it would refuse its callers: signature = "may_change" once they are ready
    SAMPLE_INVALID = "sample_invalid"  # an input row lacks a column or has the wrong type
    VALUE_MISSING = "value_missing"  # a row lacks a value that the model requires: correct the source of the rows
    VALUE_RANGE = "value_range"  # a number does not fit the input's type: infinite, too large, or not whole
    ANSWER_UNKNOWN = "answer_unknown"  # the id of a label names no answer that the device still knows: label sooner
    LABEL_INVALID = "label_invalid"  # the value is no label, or does not fit the answer's rows
    LABEL_UNKNOWN = "label_unknown"  # no version of the model has this class: correct it, or add the class to the model
    LABEL_REPEATED = "label_repeated"  # the answer has a label already: the first one counts
    METRIC_INVALID = "metric_invalid"  # a number that an application measures has no usable name, value or version
    WORKER_FAILED = "worker_failed"  # the model's own process died or hung: stable answers; check the model
    NOT_SERVING = "not_serving"  # no version of the model serves yet: roll one out, look at `edgeward device show`
    # conversion and registry
    ESTIMATOR_UNTRUSTED = "estimator_untrusted"  # types that an operator has not trusted yet
    ESTIMATOR_UNSUPPORTED = "estimator_unsupported"  # a step has no faithful ONNX form
    CONVERSION_FAILED = "conversion_failed"  # the converter raised
    MODEL_UNSOUND = "model_unsound"  # its answers are random, depend on other rows, or are NaN: see the detail
    CONVERSION_LIMIT = "conversion_limit"  # it reached its limit of time, memory or disk: the detail names the setting
    BUSY = "busy"  # other pushes run, or too many wait: push again later
    PARITY_FAILED = "parity_failed"  # ONNX and scikit-learn disagree: nothing is released
    SAMPLE_MISSING = "sample_missing"  # parity needs rows: pass sample=X
    SAMPLE_REFUSED = "sample_refused"  # the estimator itself refuses the sample: pass rows as you pass them to predict
    SAMPLE_TOO_SMALL = "sample_too_small"  # few distinct rows prove nothing: pass more, or a reason in waive_rows
    UNKNOWN_MODEL = "unknown_model"  # see `edgeward model list`
    UNKNOWN_VERSION = "unknown_version"  # see `edgeward model show NAME`
    UNKNOWN_DEVICE = "unknown_device"  # the device has never reported: see `edgeward device list`
    UNKNOWN_BLOB = "unknown_blob"  # no device needs it now: check the digest, and `edgeward rollout list`
    UNKNOWN_ROLLOUT = "unknown_rollout"  # see `edgeward rollout list`
    UNKNOWN_RUN = "unknown_run"  # runs stay on their machine until they are sent: `edgeward run send RUN`
    UNKNOWN_DATA_SET = "unknown_data_set"  # see `edgeward data list`; the rows of a version may be deleted
    NOT_SIGNED = "not_signed"  # the gates have passed, the release signer has not signed: edgeward trust sign MODEL
    GATES_NOT_PASSED = "gates_not_passed"  # the version's gates have not passed
    # rollouts and the API
    STRATEGY_INVALID = "strategy_invalid"  # a field is unknown or out of range: see configs/rollouts
    SELECTOR_EMPTY = "selector_empty"  # no device matches
    NOTHING_FITS = "nothing_fits"  # every device that matches is excluded: `edgeward rollout plan` says why
    PLAN_CHANGED = "plan_changed"  # the fleet or the strategy is not that of the plan: preview it again
    NO_WAY_BACK = "no_way_back"  # no device had confirmed a version before: roll another release out
    FOUR_EYES = "four_eyes"  # another person with the role approver must approve the proposal
    VERSION_ROLLED_BACK = "version_rolled_back"  # the detail says by which rollout and why; start it again with --again
    VERSION_WITHDRAWN = "version_withdrawn"  # a person has withdrawn it, and the detail says why: take another version
    VERSION_REMOVED = "version_removed"  # its blobs were deleted by the retention rule: push the model again
    ROLLOUT_CONFLICT = "rollout_conflict"  # another rollout of the model runs, or the step does not fit the status
    UNKNOWN_RETRAINING = "unknown_retraining"  # no such attempt, or no policy: see `edgeward retrain list`
    RETRAINING_CONFLICT = "retraining_conflict"  # it has ended, or another worker runs it: look at it, then ask again
    CONFIG_INVALID = "config_invalid"  # the configuration names an unknown key or a wrong value
    CERTIFICATE_INVALID = "certificate_invalid"  # for another key or name, or an unknown authority: check enrolment.url
    AUTHORITY_IN_USE = "authority_in_use"  # devices still rely on it: wait until they have renewed
    UNKNOWN_CERTIFICATE = "unknown_certificate"  # see `edgeward certificate list`
    DEVICE_ENROLLED = "device_enrolled"  # a device has this name: `edgeward device replace NAME` for new hardware
    CLAIM_REFUSED = "claim_refused"  # used, expired or unknown: ask for a new claim; the audit says which
    UNAUTHENTICATED = "unauthenticated"  # no token, or one that is wrong, revoked or expired
    SIGN_IN_REFUSED = "sign_in_refused"  # the answer of the OpenID provider is invalid, or gives no role here
    PROVIDER_UNREACHABLE = "provider_unreachable"  # the OpenID provider does not answer: sign in later, or use a token
    OUTSIDE_SCOPE = "outside_scope"  # the token is for a part of the fleet: choose less, or ask for another token
    FORBIDDEN = "forbidden"  # the token's roles do not allow it: ask an administrator for another one
    HOST_UNKNOWN = "host_unknown"  # the controller does not accept this host name: add it to api.names
    RATE_LIMITED = "rate_limited"  # too many calls, or too many failed attempts: wait
    ALERT_RULE_INVALID = "alert_rule_invalid"  # line and cause are in the detail: edgeward alert test FILE
    UNKNOWN_ALERT = "unknown_alert"  # see `edgeward alert list --state all`
    UNKNOWN_SILENCE = "unknown_silence"  # see `edgeward alert silences`
    UNKNOWN_RECEIVER = "unknown_receiver"  # see `edgeward alert receivers`
    UNKNOWN_TOKEN = "unknown_token"  # see `edgeward token list`
    AUDIT_BROKEN = "audit_broken"  # the audit was changed after it was written: compare with an export, find out who
    REQUEST_INVALID = "request_invalid"  # the call itself is wrong: the detail says how
    REQUEST_CANCELLED = "request_cancelled"  # the caller has left, or its timeout was over: nothing was computed for it
    REQUEST_SLOW = "request_slow"  # the request was not complete in time: send it on a faster link
    PORT_TAKEN = "port_taken"  # another program has the address: choose another port
    PIPELINE_INVALID = "pipeline_invalid"  # a step, a type or a parameter does not fit: the detail names it
    PIPELINE_FAILED = "pipeline_failed"  # a step raised, hung or leaked: read its log; other results are kept
    PIPELINE_RUNNING = "pipeline_running"  # another run of the pipeline is not over: wait for it, or end it
    DATA_INVALID = "data_invalid"  # rows break their contract: the detail names column, rule and rows
    BROKER_UNREACHABLE = "broker_unreachable"  # start it, or correct broker.url
    CONTROLLER_UNREACHABLE = "controller_unreachable"  # start `edgeward-controller run`, or correct EDGEWARD_URL
    STORE_CORRUPT = "store_corrupt"  # a stored file is missing or damaged: restore a backup, or push that version again
    BACKUP_INVALID = "backup_invalid"  # the file is no whole backup, or of a newer version: take another one
    CONFIG_TAKEN_BACK = "config_taken_back"  # it broke the device or its link, as the detail says: send another one
    DEVICE_UNREACHABLE = "device_unreachable"  # it is offline, or did not answer in time: the detail says which
    DEVICE_RETIRED = "device_retired"  # it was retired: `edgeward device adopt NAME` adds it again


STABLE_AGAIN = "stable is desired again"
"""The detail beside `superseded` of a trial that ended because the device's confirmed version was asked for again."""


class EdgewardError(Exception):
    """A fault with a stable `code` and a `detail` for people: what was wrong, where, what to do."""

    def __init__(self, code: Code, detail: str = "") -> None:
        self.code = code
        self.detail = shortened(detail)
        super().__init__(f"{code}: {self.detail}" if detail else str(code))


def shortened(detail: str) -> str:
    """Returns a text of at most MAX_DETAIL_CHARS characters: a longer one ends after a whole word, with `...`."""
    if len(detail) <= MAX_DETAIL_CHARS:
        return detail
    kept = detail[: MAX_DETAIL_CHARS - 3]
    return f"{kept.rpartition(' ')[0] or kept}..."


class BadInput(EdgewardError):
    """Something that was sent or written is wrong; trying again unchanged will fail again."""


class WorldError(EdgewardError):
    """Disk, network or time went wrong; the same call may succeed later."""
