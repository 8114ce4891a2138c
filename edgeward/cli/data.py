"""`edgeward data`."""

import click


@click.group()
def data() -> None:
    """Data."""
