"""`edgeward alert list | show | silence | unsilence | silences | rules | receivers | test`."""

import re
from datetime import timedelta
from pathlib import Path

import click

from contract.errors import BadInput, Code
from edgeward.answers.alerts import Alert
from edgeward.cli.render import csv_asked, csv_option, duration, json_option, print_json, print_table, tell, when, zone
from edgeward.cli.times import LENGTHS, length_of
from edgeward.client import Client

_STATES = ("pending", "firing", "silenced", "inhibited", "resolved", "all")
NO_SILENCES = "no silences; with --all also those that have ended"
NO_RECEIVERS = "no receivers: name a file with some as alerts.file in controller.toml; see configs/alerts.toml"
_FINGERPRINT = re.compile(r"^[0-9a-f]{16}\Z")


@click.group()
def alert() -> None:
    """Show alerts, silence them, and try rules."""


@alert.command(name="list")
@click.option("--state", type=click.Choice(_STATES), default=None, help="Default: all that are not resolved.")
@click.option(
    "--match", multiple=True, metavar="LABEL=VALUE", help="!= is possible too; * matches any text. May be repeated."
)
@click.option("--search", default="", metavar="WORDS", help="In names, labels and sentences.")
@click.option("--severity", default="", help="critical, warning or info.")
@click.option("--model", default="", help="Only about this model.")
@click.option("--device", default="", help="Only about this device.")
@csv_option
@json_option
def list_(
    *, state: str | None, match: tuple[str, ...], search: str, severity: str, model: str, device: str, as_json: bool
) -> None:
    """List alerts, newest first."""
    found = Client().alerts(state or "", match=match, text=search, severity=severity, model=model, device=device)
    if as_json:
        print_json(found.plain)
        return
    is_filtered = any((match, state, search, severity, model, device))
    empty = "no alerts" + (" that match" if is_filtered else ": nothing is wrong that a rule looks for")
    rows = [(one.fingerprint, one.state, one.severity, one.name, one.about, when(one.since)) for one in found]
    print_table("alerts", ("id", "state", "severity", "alert", "about", f"since ({zone()})"), rows, empty=empty)


@alert.command()
@click.argument("fingerprint")
@json_option
def show(fingerprint: str, *, as_json: bool) -> None:
    """Show the alert with this id: what was tested, what would end it, and where to look."""
    found = Client().alert(fingerprint)
    if as_json:
        print_json(found.plain)
        return
    for line in alert_lines(found):
        tell(line)
    for past in found.past[:10]:
        if past.starts_at and past.ends_at:
            took = duration((past.ends_at - past.starts_at).total_seconds())
            tell(f"  before     {when(past.starts_at)}, for {took}")


def alert_lines(one: Alert) -> list[str]:
    """Yields sentences about an alert for people."""
    said = one.annotations
    muted = [f"silence {name}" for name in one.silenced_by] + [f"alert {name}" for name in one.inhibited_by]
    fires = when(one.starts_at) if one.starts_at else f"after {duration(one.for_s)} of {one.state}"
    lines = [
        f"{one.name} is {one.state} ({one.severity})" + (f", by {', '.join(muted)}" if muted else ""),
        f"  {said['description']}",
        f"  effect     {said['effect']}",
        f"  test       {said['test']}",
        f"  found      {when(one.since)}, fires {fires}" + (f", over {when(one.ends_at)}" if one.ends_at else ""),
        f"  labels     {' '.join(f'{name}={text}' for name, text in one.labels.items())}",
        f"  clears     {said['clears']}",
        f"  look       {said['look']}",
    ]
    if one.state == "firing":
        lines.append(f"  be quiet   edgeward alert silence {one.fingerprint} --for 2h --reason WHY")
    return lines


@alert.command()
@click.argument("what", nargs=-1, required=True)
@click.option("--for", "length", default="2h", show_default=True, metavar="TIME", help=f"{LENGTHS}.")
@click.option("--reason", required=True, help="Why: the next shift reads it.")
@json_option
def silence(what: tuple[str, ...], length: str, reason: str, *, as_json: bool) -> None:
    """Silence alerts: by id, or by labels such as device=cam-1 site=north*.

    Several labels must all match. An id stands for all labels of that alert.
    """
    client = Client()
    matchers: list[str] = []
    for each in what:
        if _FINGERPRINT.match(each):
            matchers += [f"{name}={text}" for name, text in _own_labels(client.alert(each)).items()]
        else:
            matchers.append(each)
    made = client.silence(matchers, reason=reason, hours=_hours(length))
    if as_json:
        print_json(made.plain)
        return
    tell(f"silence {made.id} until {when(made.ends_at)} {zone()}: firing alerts silenced now: {made.alerts}")
    tell(f"end it: edgeward alert unsilence {made.id}")


def _own_labels(one: Alert) -> dict[str, str]:
    """Returns labels that identify an alert: its name, and the subject of its rule, without labels that a device may
    change.
    """
    names = ("alertname", "device", "model", "release", "rollout", "code", "what", "subject", "sensor", "sink")
    return {name: one.labels[name] for name in names if name in one.labels}


@alert.command()
@click.argument("identifier")
@json_option
def unsilence(identifier: str, *, as_json: bool) -> None:
    """End the silence with this id now."""
    ended = Client().unsilence(identifier)
    if as_json:
        print_json(ended.plain)
        return
    tell(f"ended silence {ended.id}")


@alert.command()
@click.option("--all", "also_ended", is_flag=True, help="Include ended silences.")
@csv_option
@json_option
def silences(*, also_ended: bool, as_json: bool) -> None:
    """List silences, newest first."""
    found = [each for each in Client().silences() if also_ended or each.state != "expired"]
    if as_json:
        print_json([each.plain for each in found])
        return
    rows = [
        (one.id, one.state, when(one.ends_at), one.alerts, one.created_by, " ".join(map(str, one.matchers)), one.reason)
        for one in found
    ]
    print_table(
        "silences", ("id", "state", f"ends ({zone()})", "quiet", "by", "matches", "reason"), rows, empty=NO_SILENCES
    )


@alert.command()
@csv_option
@json_option
def rules(*, as_json: bool) -> None:
    """List the rules, what they have found, and which cannot trip on this fleet."""
    found = Client().alert_rules()
    if as_json:
        print_json(found.plain)
        return
    rows = []
    for one in found.rules:
        counts = ", ".join(f"{count} {word}" for word, count in one.alerts.items())
        rows.append((one.name, one.rule["severity"], _condition(one.rule), counts or "-"))
    title = f"rules of {found.source}" if found.source else "the rules that ship (alerts.file names others)"
    print_table(title, ("rule", "severity", "trips where", "now"), rows, empty="no rules")
    for one in () if csv_asked() else found.rules:
        if one.fault:
            tell(f"failed: {one.name}: {one.fault}")
        if one.idle:
            tell(f"not judged: {one.name}: {one.idle}")
        if one.left_out:
            tell(f"{one.name} found {one.left_out} more than are shown")


def _condition(rule: dict[str, object]) -> str:
    """Returns a rule's condition as text: measure, limit and duration."""
    bounds = [f"{sign} {rule[key]:g}" for key, sign in (("above", ">"), ("below", "<")) if rule[key] is not None]
    wait = f" for {duration(float(str(rule['for_s'])))}" if rule["for_s"] else ""
    return f"{rule['measure']} {' '.join(bounds)}".strip() + wait


@alert.command()
@csv_option
@json_option
def receivers(*, as_json: bool) -> None:
    """List receivers of alerts and of events, with their counts since the controller started."""
    found = Client().alert_receivers()
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (one.name, one.kind, one.sent, one.refused + one.given_up + one.dropped, when(one.sent_at), one.error or "-")
        for one in found
    ]
    columns = ("name", "kind", "sent", "lost", f"newest ({zone()})", "what is wrong")
    print_table("receivers", columns, rows, empty=NO_RECEIVERS)


@alert.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--receiver", metavar="NAME", help="Send this receiver of the running controller a test message.")
@json_option
def test(file: Path | None, receiver: str | None, *, as_json: bool) -> None:
    """Try a FILE of rules on this fleet without changing anything, or send a receiver a test message."""
    if (file is None) == (receiver is None):
        raise BadInput(Code.REQUEST_INVALID, "name a file of rules, or --receiver NAME")
    if receiver is not None:
        fare = Client().test_alert_receiver(receiver)
        if as_json:
            print_json(fare.plain)
        else:
            tell(f"{fare.name} took the message" if fare.sent else f"{fare.name} did not take it: {fare.error}")
        raise SystemExit(0 if fare.sent else 1)
    assert file is not None
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput(Code.ALERT_RULE_INVALID, f"{file}: expected TOML in UTF-8") from None
    found = Client().test_alert_rules(text, str(file))
    if as_json:
        print_json(found.plain)
        return
    tell(f"{file} is right: {found.rules} rules, {found.receivers} receivers; {len(found.alerts)} alerts now")
    for one in found.alerts[:30]:
        tell(f"  {one.state} {one.name}: {one.annotations['description']}")


def _hours(text: str) -> float:
    found = length_of(text)
    if found is None:
        raise BadInput(Code.REQUEST_INVALID, f"--for {text[:20]!r}: expected {LENGTHS}")
    return found / timedelta(hours=1)
