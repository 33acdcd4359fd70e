"""`pointsman dashboards`: the Grafana boards, written where Grafana is to find them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from console.text import visible

REFUSED = 1
_BUILDERS = "grafana_foundation_sdk"


def dashboards(
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Where to; it is made, files of ours are replaced.")
    ],
) -> None:
    """Write the Grafana dashboards as JSON files, for Grafana's provisioning or its import."""
    if importlib.util.find_spec(_BUILDERS) is None:
        typer.echo("the dashboards need an extra: pip install 'pointsman[dashboards]'", err=True)
        raise typer.Exit(REFUSED)
    from monitoring.dashboards.boards import BOARDS
    from monitoring.dashboards.rendering import write

    try:
        written = write(directory, BOARDS)
    except OSError as error:
        why = f"{error.filename or directory} cannot be written ({error.strerror}): name another directory"
        typer.echo(visible(why), err=True)
        raise typer.Exit(REFUSED) from error
    for path in written:
        typer.echo(visible(str(path)))
