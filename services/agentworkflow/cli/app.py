"""The commands and their options. Each body imports what does the work, so that help stays fast."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agentworkflow.cli.options import (
    AsJson,
    Commands,
    DataDirectory,
    Key,
    Limit,
    Namespace,
    Secrets,
    Url,
    WorkflowFiles,
)

# Modules are imported inside the commands: PLC0415 is this file's purpose, not an oversight.
# ruff: noqa: PLC0415

app = typer.Typer(
    name="agentworkflow",
    help="Run AI-agent workflows: on this machine, from an event or a request to the result.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or a unique beginning.")]


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version.")
    ] = False,
) -> None:
    """Options before a command."""
    # `--version` alone never comes here: main() answers it without loading typer.
    if show_version:
        from agentworkflow.cli import main

        raise typer.Exit(main(["--version"]))


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The new project's directory.")],
) -> None:
    """Write a new project that runs as it is: workflow, functions, tests, Dockerfile, README."""
    from agentworkflow.cli.project import describe_project, write_project

    written = write_project(directory)
    typer.echo(describe_project(directory, written))


@app.command()
def validate(
    files: WorkflowFiles,
    handlers: Annotated[
        bool, typer.Option("--handlers/--no-handlers", help="Also import the functions' handlers.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Check workflow files: every error with file:line:column, and what to write instead."""
    from agentworkflow.cli.checking import print_report

    raise typer.Exit(print_report(files, handlers=handlers, as_json=as_json))


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A workflow file.")],
    event: Annotated[
        str | None,
        typer.Option("--event", metavar="FILE|-", help="Start by this structured CloudEvent."),
    ] = None,
    input_: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON|@FILE", help="Start with this input."),
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option("--workflow", metavar="NAME", help="Which one, if the file holds several."),
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", help="The session that the run belongs to.")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", help="Cancel the run after this long."),
    ] = None,
    secrets: Secrets = None,
    command: Commands = None,
    as_json: AsJson = False,
) -> None:
    """Run a workflow once, from an event or an input to the result, and leave nothing behind.

    Exit code 0 only if the run succeeded, 1 if it ended otherwise, 2 for wrong usage or a wrong
    file.
    """
    from agentworkflow.cli.orders import CommandLine, prepare

    order = prepare(
        CommandLine(
            file=file,
            event=event,
            input=input_,
            workflow=workflow,
            session=session,
            timeout=timeout,
            secrets=secrets,
            commands=tuple(command or ()),
            as_json=as_json,
        )
    )
    # Only now: the engine is half a second of imports, which a wrong file need not wait for.
    from agentworkflow.cli.single_run import run_once

    raise typer.Exit(run_once(order))


@app.command()
def dev(
    files: WorkflowFiles,
    data_dir: DataDirectory = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of the API; 0 for any free one.")
    ] = 8080,
    event_port: Annotated[
        int,
        typer.Option("--event-port", min=0, max=65535, help="Port where events are delivered."),
    ] = 0,
    broker: Annotated[
        str,
        typer.Option(
            "--broker",
            metavar="durable|lossy",
            help="lossy drops, doubles and reorders events, as an in-memory channel may.",
        ),
    ] = "durable",
    redis_url: Annotated[
        str | None,
        typer.Option("--redis-url", help="Use this Redis instead of the embedded Valkey."),
    ] = None,
    secrets: Secrets = None,
    command: Commands = None,
    webhook_host: Annotated[
        list[str] | None,
        typer.Option(
            "--webhook-host",
            metavar="HOST[:PORT]",
            help="Host webhooks may go to; repeatable.",
        ),
    ] = None,
) -> None:
    """Run workflows and stay up: reload on change, scale functions to zero when idle."""
    from agentworkflow.cli.serving import Stay, serve

    stay = Stay(
        files=tuple(files),
        data_dir=data_dir,
        port=port,
        event_port=event_port,
        broker=broker,
        redis_url=redis_url,
        secrets=secrets,
        commands=tuple(command or ()),
        webhook_hosts=tuple(webhook_host or ()),
    )
    raise typer.Exit(serve(stay))


@app.command()
def send(
    event: Annotated[
        str | None,
        typer.Argument(metavar="FILE|-", help="A structured CloudEvent, or a batch (JSON array)."),
    ] = None,
    *,
    type_: Annotated[
        str | None, typer.Option("--type", help="The event's type, instead of the file's.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Its source. Default: /agentworkflow/cli.")
    ] = None,
    identifier: Annotated[
        str | None, typer.Option("--id", help="Its id. Default: a new one.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Its subject.")] = None,
    extension: Annotated[
        list[str] | None,
        typer.Option("--extension", metavar="NAME=VALUE", help="An extension attribute."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="JSON|@FILE", help="Its data.")
    ] = None,
    broker: Annotated[str, typer.Option("--broker", help="The broker to send to.")] = "default",
    namespace: Namespace = "default",
    data_dir: DataDirectory = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Send an event to the broker of a running engine."""
    from agentworkflow.cli.address import find_engine
    from agentworkflow.cli.events import EventOptions, build_events
    from agentworkflow.cli.steering import send_events

    body = build_events(
        event,
        EventOptions(
            type=type_,
            source=source,
            id=identifier,
            subject=subject,
            extensions=tuple(extension or ()),
            data=data,
        ),
    )
    raise typer.Exit(send_events(find_engine(url, key, data_dir, namespace), body, broker))


@app.command()
def workflows(
    as_json: AsJson = False,
    namespace: Namespace = "default",
    data_dir: DataDirectory = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """List the workflows that a running engine has published."""
    from agentworkflow.cli.address import find_engine
    from agentworkflow.cli.inspecting import list_workflows

    list_workflows(find_engine(url, key, data_dir, namespace), as_json=as_json)


@app.command()
def runs(
    state: Annotated[
        str | None,
        typer.Option("--state", help="Only runs in this state, such as Running or Failed."),
    ] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", help="Of this workflow.")] = None,
    session: Annotated[str | None, typer.Option("--session", help="Of this session.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    namespace: Namespace = "default",
    data_dir: DataDirectory = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """List runs, the newest first."""
    from agentworkflow.cli.address import find_engine
    from agentworkflow.cli.inspecting import list_runs

    engine = find_engine(url, key, data_dir, namespace)
    list_runs(engine, state=state, workflow=workflow, session=session, limit=limit, as_json=as_json)


@app.command()
def show(
    run: RunId,
    as_json: AsJson = False,
    namespace: Namespace = "default",
    data_dir: DataDirectory = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show one run with its steps, its output and its problem."""
    from agentworkflow.cli.address import find_engine
    from agentworkflow.cli.inspecting import show_run

    show_run(find_engine(url, key, data_dir, namespace), run, as_json=as_json)


@app.command()
def logs(
    run: RunId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay until the run has ended.")
    ] = False,
    as_json: AsJson = False,
    namespace: Namespace = "default",
    data_dir: DataDirectory = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Print a run's log: one line for each thing that happened."""
    from agentworkflow.cli.address import find_engine
    from agentworkflow.cli.inspecting import print_log

    engine = find_engine(url, key, data_dir, namespace)
    print_log(engine, run, follow=follow, as_json=as_json)


@app.command()
def signal(
    run: RunId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal's name.")],
    value: Annotated[
        str,
        typer.Argument(metavar="VALUE", help="JSON, @FILE, or text that is taken as a string."),
    ] = "null",
    namespace: Namespace = "default",
    data_dir: DataDirectory = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Send a signal to a run that waits for it, or will."""
    from agentworkflow.cli.address import find_engine
    from agentworkflow.cli.steering import send_signal

    send_signal(find_engine(url, key, data_dir, namespace), run, name, value)


@app.command()
def cancel(
    run: RunId,
    namespace: Namespace = "default",
    data_dir: DataDirectory = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Cancel a run."""
    from agentworkflow.cli.address import find_engine
    from agentworkflow.cli.steering import cancel_run

    cancel_run(find_engine(url, key, data_dir, namespace), run)


class LetterAction(StrEnum):
    """What `dead-letters` does."""

    LIST = "list"
    SHOW = "show"
    REDRIVE = "redrive"
    DROP = "drop"


@app.command("dead-letters")
def dead_letters(
    action: Annotated[LetterAction, typer.Argument(metavar="list|show|redrive|drop")] = (
        LetterAction.LIST
    ),
    letter: Annotated[
        str | None, typer.Argument(metavar="ID", help="Which one, for show, redrive and drop.")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    namespace: Namespace = "default",
    data_dir: DataDirectory = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Events that could not be delivered: list them, show one, send it again, or drop it."""
    from agentworkflow.cli import inspecting, steering
    from agentworkflow.cli.address import find_engine

    if (letter is None) != (action is LetterAction.LIST):
        wanted = "no ID" if action is LetterAction.LIST else "the ID of one dead letter"
        raise typer.BadParameter(f"`dead-letters {action}` takes {wanted}.")
    engine = find_engine(url, key, data_dir, namespace)
    if letter is None:
        inspecting.list_dead_letters(engine, limit=limit, as_json=as_json)
    elif action is LetterAction.SHOW:
        inspecting.show_dead_letter(engine, letter)
    elif action is LetterAction.REDRIVE:
        steering.redrive_dead_letter(engine, letter)
    else:
        steering.drop_dead_letter(engine, letter)
