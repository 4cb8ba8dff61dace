"""Options that several commands share, so that each is named and explained the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

DataDirectory = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="The data directory of the engine. Default: one in your user's state directory.",
        envvar="AGENTWORKFLOW_DATA_DIR",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The API of a running engine. Default: the engine of the data directory.",
        envvar="AGENTWORKFLOW_URL",
        show_default=False,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="The API key, where the API asks for one.",
        envvar="AGENTWORKFLOW_API_KEY",
        show_default=False,
    ),
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The namespace to look in.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON for scripts on standard output, nothing else.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most this many.")]
Secrets = Annotated[
    Path | None,
    typer.Option(
        "--secrets",
        help="A directory with one file per secret: NAME/KEY.",
        exists=True,
        file_okay=False,
        show_default=False,
    ),
]
Commands = Annotated[
    list[str] | None,
    typer.Option(
        "--command",
        metavar="NAME=COMMAND",
        help="How to start the server of a function that exists only as an image. Repeatable.",
        show_default=False,
    ),
]
WorkflowFiles = Annotated[
    list[Path],
    typer.Argument(metavar="FILE…", help="Workflow files (YAML or JSON).", show_default=False),
]
