"""The mistakes of a new user: what was done, the message, and the exit code.

Decides docs/reference/mistakes.md, which `python docs/generate.py` writes and `tests/test_docs.py` compares.
`tests/edgeward/test_mistakes.py` makes each of them with the real programs. Refuses to know how they are run.
"""

from dataclasses import dataclass

from edgeward.cli.endings import Exit

MORE = "..."
"""A placeholder in `said` for words that are not compared."""

FILES = {
    "raises.py": "def scaled(rows):\n    return rows / 0\nmodel = scaled(1)\n",
    "nothing.py": "rows = [1, 2, 3]\n",
    "syntax.py": "model = (\n",
    "imports.py": "import no_such_package\n",
    "exits.py": "import sys\nsys.exit(3)\n",
    "empty.csv": "",
    "header.csv": "a,b\n",
    "one.csv": "a,b\n1,2\n",
    "binary.npy": "this is no array",
    "model.pkl": "a pickle",
    "model.onnx": "no graph",
    "typing.toml": "[[waves]]\npercent = 5\nsoak_s = = 3\n",
    "field.toml": "[[waves]]\npercent = 5\n\n[[waves]]\npercent = 100\nsoak = 3\n",
    "type.toml": '[[waves]]\npercent = 5\nsoak_s = "long"\n',
    "limits.toml": "max_size_bytes = 5\nmax_sise = 1\n",
}
"""Files that are in the directory in which the mistakes are made."""

PLACES = {
    "tls": "https://127.0.0.1:8443",
    "bare": "http://127.0.0.1:8443",
    "plain": "https://127.0.0.1:8470",
    "free": "http://127.0.0.1:9999",
    "taken": "8470",
}
"""What stands in the page for addresses that the tests choose."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake. `command` as in a shell; `given` names what is arranged before it."""

    did: str
    command: str
    said: str
    ended: int
    given: str = ""


_PUSH = "edgeward model push"
_ONNX = f"{_PUSH} model.onnx --name weather --sample"

MISTAKES = (
    # the command line
    Mistake("a command that is not there", "edgeward modle list", "No such command 'modle'. Did you mean 'model'?", 2),
    Mistake("an option that is not there", "edgeward model list --colour", "No such option '--colour'", 2),
    Mistake("a name left out", "edgeward model show", "Missing argument 'NAME'", 2),
    Mistake("a name too many", "edgeward model list weather", "Got unexpected extra argument (weather)", 2),
    Mistake("a file that is not there", f"{_PUSH} nofile.py --name weather", "Path 'nofile.py' does not exist", 2),
    Mistake(
        "a date in words", "edgeward rollout plan weather --from Monday",
        "'Monday' is no time; write today, tomorrow, 30m, 2h, 3d or 1w from now, 2026-01-31, ", 2,
    ),
    Mistake("a form that is not made", f"{_ONNX} one.csv --variant int4", "'int4' is not one of 'fp16', 'int8'", 2),
    Mistake(
        "a wrong command line for a script", "edgeward model list --json weather",
        '{"error": {"code": "usage", ..."exit_code": 2}}', 2,
    ),
    # the controller
    Mistake(
        "no controller runs", "EDGEWARD_URL={free} edgeward model list",
        "controller_unreachable: ...Connection refused; is `edgeward-controller run` up?", 4,
    ),
    Mistake(
        "no controller runs, for a script", "EDGEWARD_URL={free} edgeward model list --json",
        '{"error": {"code": "controller_unreachable", ..."exit_code": 4}}', 4,
    ),
    Mistake(
        "no controller is named", "EDGEWARD_DATA_DIR=nowhere edgeward model list",
        "no controller is named: start `edgeward-controller run` here, or set EDGEWARD_URL and EDGEWARD_TOKEN", 4,
    ),
    Mistake(
        "an address without http://", "EDGEWARD_URL=127.0.0.1:8470 edgeward model list",
        "EDGEWARD_URL '127.0.0.1:8470': expected http://host:port or https://host", 3,
    ),
    Mistake(
        "a host that nobody knows", "EDGEWARD_URL=http://edge.invalid edgeward model list",
        "controller_unreachable: ...Failed to resolve 'edge.invalid'", 4,
    ),
    Mistake(
        "a certificate of one's own", "EDGEWARD_URL={tls} edgeward model list",
        "TLS: no authority that this machine trusts has signed its certificate: name the file of yours in "
        "SSL_CERT_FILE", 4,
    ),
    Mistake(
        "a certificate for another name", "SSL_CERT_FILE=ca.pem EDGEWARD_URL={tls} edgeward model list",
        "TLS: its certificate is for another address", 4,
    ),
    Mistake(
        "https:// where none is spoken", "EDGEWARD_URL={plain} edgeward model list",
        "TLS: it speaks none: is it http:// in place of https://?", 4,
    ),
    Mistake(
        "http:// where TLS is spoken", "EDGEWARD_URL={bare} edgeward model list",
        "controller_unreachable: ...is `edgeward-controller run` up?", 4,
    ),
    Mistake(
        "a wrong token", "EDGEWARD_TOKEN=wrong edgeward model list",
        "unauthenticated: ...try: edgeward token create ...; set EDGEWARD_TOKEN to it, or to DATA_DIR/token", 3,
    ),
    Mistake(
        "a token that was copied badly", "EDGEWARD_TOKEN=wröng edgeward model list",
        "EDGEWARD_TOKEN holds letters that no token has: copy it again", 3,
    ),
    Mistake(
        "a port that is taken", "edgeward-controller run --data-dir new --port {taken} --broker-port 0",
        "port_taken: port ... is taken by ... (process ...); choose another with --port (0: a free one)", 2,
    ),
    Mistake(
        "a port of the broker that is taken", "edgeward-controller run --data-dir new --port 0 --broker-port {taken}",
        "port_taken: port ... is taken by ... (process ...); choose another with --broker-port (0: a free one)", 2,
    ),
    Mistake(
        "a data directory that is a file", "edgeward-controller run --data-dir one.csv",
        "disk_failed: one.csv: File exists", 2,
    ),
    Mistake(
        "a data directory on a read-only disk", "edgeward-controller run --data-dir new",
        "disk_failed: new: Read-only file system; it is on a read-only file system: name another place", 2, "read-only",
    ),
    Mistake(
        "a data directory of another user", "edgeward-controller run --data-dir new",
        "disk_failed: new: Permission denied; this user may not do that: change its owner or mode", 2, "not allowed",
    ),
    Mistake(
        "a data directory in use", "edgeward-controller run --data-dir controller",
        "disk_failed: controller belongs to another running controller", 2,
    ),
    Mistake(
        "a full disk", "edgeward device config cam --out cam",
        "disk_full: ...No space left on device; the disk is full: free space, then try again", 1, "full",
    ),
    Mistake(
        "a configuration that is not there", "edgeward-agent run -c nofile.toml",
        "config_invalid: nofile.toml: No such file or directory", 2,
    ),
    # a push
    Mistake(
        "a training script that raises", f"{_PUSH} raises.py --name weather",
        "raises.py has failed: ZeroDivisionError: division by zero raises.py:3: model = scaled(1) raises.py:2: return "
        "rows / 0", 3,
    ),
    Mistake(
        "a training script with a typing error", f"{_PUSH} syntax.py --name weather",
        'syntax.py has failed: ...line 1 ...SyntaxError: \'(\' was never closed', 3,
    ),
    Mistake(
        "a training script that imports what is missing", f"{_PUSH} imports.py --name weather",
        "No module named 'no_such_package' imports.py:1: import no_such_package", 3,
    ),
    Mistake("a training script that ends itself", f"{_PUSH} exits.py --name weather", "exits.py has failed: Sys...", 3),
    Mistake(
        "a training script that leaves nothing", f"{_PUSH} nothing.py --name weather",
        "nothing.py leaves no model and no sample: assign a fitted `model` and `sample`", 3,
    ),
    Mistake("a pickle", f"{_PUSH} model.pkl --name weather --sample one.csv", "a pickle is code and is not taken", 3),
    Mistake("no sample", f"{_PUSH} model.onnx --name weather", "sample_missing: ...add --sample rows.csv", 3),
    Mistake("an empty CSV", f"{_ONNX} empty.csv", "empty.csv cannot be read as .csv: No columns to parse", 3),
    Mistake("a CSV without rows", f"{_ONNX} header.csv", "sample_missing: header.csv has columns and no rows", 3),
    Mistake("a sample of one row", f"{_ONNX} one.csv", "sample_too_small: the sample has 1 distinct rows", 3),
    Mistake("a sample that is no array", f"{_ONNX} binary.npy", "binary.npy cannot be read as .npy: it holds no", 3),
    Mistake(
        "a sample of another type", f"{_ONNX} model.pkl",
        "model.pkl: expected .csv, .csv.gz, .parquet, .npy or .npz", 3,
    ),
    Mistake(
        "a package that is not installed", "edgeward model captured weather --out rows.parquet",
        "this command needs pyarrow, which is not installed: pip install 'edgeward[parquet]'", 3, "no pyarrow",
    ),
    Mistake(
        "a name that no model may have", f"{_PUSH} model.onnx --name My_Model --sample one.csv",
        "name_invalid: model name 'My_Model': use 1 to 63 lower-case letters, digits and '-'", 3,
    ),
    Mistake(
        "a metric that is no number", f"{_ONNX} one.csv --metric accuracy=high",
        "--metric: could not convert string to float: 'high'", 3,
    ),
    Mistake(
        "Ctrl-C in a push", f"{_PUSH} good.py --name weather",
        "cancelled, on the controller too: no version was made", 130, "Ctrl-C",
    ),
    # names
    Mistake("an unknown model", "edgeward model show wether", "unknown_model: ...try: edgeward model list", 3),
    Mistake("an unknown version", "edgeward model show weather@7", "unknown_version: ...weather...", 3),
    Mistake(
        "a version named twice", "edgeward model show weather@1 --version 2",
        "'weather@1' and --version 2 both name a version: leave one out", 3,
    ),
    Mistake("an unknown device", "edgeward device show cam-7", "unknown_device: no device 'cam-7' has reported", 3),
    Mistake("a device revoked by a wrong name", "edgeward device revoke cam-7", "unknown_device: no device 'cam-7'", 3),
    Mistake(
        "a quarantine of a wrong name", "edgeward device unquarantine cam-7",
        "unknown_device: no device 'cam-7' has reported", 3,
    ),
    Mistake("limits of a wrong name", "edgeward model policy wether", "unknown_model: ...try: edgeward model list", 3),
    Mistake("an unknown rollout", "edgeward rollout watch r-7", "unknown_rollout: ...`edgeward rollout list`", 3),
    Mistake(
        "an unknown model, for a script", "edgeward model show wether --json",
        '{"error": {"code": "unknown_model", ..."exit_code": 3, "hint": "edgeward model list"}}', 3,
    ),
    # a rollout
    Mistake("a strategy that is not there", "edgeward rollout plan weather --strategy quick", "no strategy 'quick'", 3),
    Mistake(
        "a typing error in a strategy", "edgeward rollout plan weather --strategy typing.toml",
        "strategy_invalid: typing.toml: Invalid value (at line 3, column 10)", 3,
    ),
    Mistake(
        "an unknown field of a strategy", "edgeward rollout plan weather --strategy field.toml",
        "strategy_invalid: field.toml:6: Object contains unknown field `soak`", 3,
    ),
    Mistake(
        "a word in place of a number in a strategy", "edgeward rollout plan weather --strategy type.toml",
        "strategy_invalid: type.toml:3: Expected `float`, got `str`", 3,
    ),
    Mistake(
        "an unknown limit of a gate", "edgeward model policy weather --set limits.toml",
        "limits.toml:2: GatePolicy: Object contains unknown field `max_sise`", 3,
    ),
    Mistake("a fleet without devices", "edgeward rollout start weather", "selector_empty: ...", 3),
    Mistake(
        "Ctrl-C while a rollout is watched", "edgeward rollout watch r-1",
        "still running; edgeward rollout watch r-1", 130, "Ctrl-C",
    ),
    # a device
    Mistake(
        "a name that no device may have", "edgeward device config 'cam 7' --out cam",
        "name_invalid: device name 'cam 7': use 1 to 64 letters, digits", 3,
    ),
    Mistake(
        "rows from a file that is not there", "edgeward device config cam --out cam --replay weather=rows.csv",
        "--replay weather=rows.csv: there is no file rows.csv", 3,
    ),
    Mistake(
        "an address beyond the device", "edgeward device config cam --out cam --serve 0.0.0.0:8190",
        "--serve 0.0.0.0:8190: expected 127.0.0.1:PORT or unix:/PATH", 3,
    ),
)  # fmt: skip


def page() -> str:
    """Returns docs/reference/mistakes.md."""
    rows = [_row(each) for each in MISTAKES]
    return _PAGE.format(codes="\n".join(_codes()), rows="\n".join(rows), count=len(rows))


def _row(each: Mistake) -> str:
    command = each.command.format(**PLACES)
    return f"| {each.did} | `{command}` | {_as_code(each.said)} | {each.ended} |"


def _as_code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text.replace('|', '/')}{pad}{fence}"


def _codes() -> list[str]:
    words = {
        Exit.DONE: ("done", "goes on"),
        Exit.NOT_COMPLETED: ("it ended badly, or disk or network failed", "may try again later"),
        Exit.USAGE: ("no such command, option or file", "must be mended"),
        Exit.REFUSED: ("understood and refused; the code in the words says why", "must ask for something else"),
        Exit.NO_CONTROLLER: ("no controller answers, or none is named", "may try again once it is there"),
        Exit.READER_GONE: ("whoever reads the output has enough, as `head`", "has what it wanted"),
        Exit.INTERRUPTED: ("Ctrl-C; what goes on without the command is said", "goes on by what was said"),
    }
    names = {code: code.name.lower().replace("_", " ") for code in Exit}
    return [f"| {code.value} | {names[code]} | {words[code][0]} | {words[code][1]} |" for code in Exit]


_PAGE = """\
# Mistakes: what is said, and the exit code

Made from `tests/edgeward/mistakes.py`; `tests/edgeward/test_mistakes.py` makes each of them with
the real programs. No mistake prints a Python trace.

## Exit codes of `edgeward`

| exit code | name | when | a script |
|---|---|---|---|
{codes}

`edgeward-controller` and `edgeward-agent` know three: 0 fine, 1 not all of it, 2 wrong call,
configuration or place.

With `--json` an error is one line of JSON on stderr, and stdout stays empty:

```
{{"error": {{"code": "unknown_model", "detail": "...", "exit_code": 3, "hint": "edgeward model list"}}}}
```

The code is one of [the error codes](codes.md), or `usage`, `aborted`, `interrupted`. `hint` is
there where a command helps.

## {count} mistakes

Words that differ from case to case are left out as `...`.

| what was done | command | what is said | exit code |
|---|---|---|---|
{rows}
"""
