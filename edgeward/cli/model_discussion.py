"""`edgeward model comment | review | discussion`: texts of people about a version or a whole model.

Decides that a name with a version means that version. Refuses to know how texts are stored.
"""

import click

from edgeward.answers.models import Notes
from edgeward.answers.rollout_looks import Discussion
from edgeward.cli.named import split_name
from edgeward.cli.render import console, json_option, print_json, say_done, table, when
from edgeward.cli.rollout_looks import written_words
from edgeward.client import Client


@click.command()
@click.argument("name")
@click.argument("text")
@json_option
def comment(name: str, text: str, *, as_json: bool) -> None:
    """Add TEXT to the comments of NAME@VERSION, or of the model NAME; there @WHO notifies a person by an event."""
    model, release = split_name(name)
    found: Notes | Discussion
    found = Client().comment_on_model(model, text) if release is None else Client().comment(model, release, text)
    count = len(found.comments)
    say_done(f"{count} comment{'s' if count != 1 else ''}", facts=found.plain, as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("who")
@click.argument("text", default="")
@json_option
def review(name: str, who: str, text: str, *, as_json: bool) -> None:
    """Ask WHO to look at the model NAME; their next comment ends that."""
    found = Client().ask_review_of_model(name, who, text)
    print_json(found.plain) if as_json else console.print("\n".join(written_words(found)))


@click.command()
@click.argument("name")
@json_option
def discussion(name: str, *, as_json: bool) -> None:
    """Show what people wrote beside the model NAME."""
    found = Client().model_discussion(name)
    if as_json:
        print_json(found.plain)
        return
    nothing = [] if found.comments else [f"Nobody has written anything yet: edgeward model comment {name} TEXT"]
    for words in written_words(found) or nothing:
        console.print(words)
    if found.comments:
        rows = [(when(each.at), each.by, each.text) for each in found.comments]
        console.print(table("comments", ("at", "by", "text"), rows))


COMMANDS = (comment, review, discussion)
