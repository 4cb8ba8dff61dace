"""The command line of `run`, judged before anything heavy is loaded or anything is started."""

from dataclasses import dataclass
from pathlib import Path

from agentworkflow.cli.checking import require_handlers, require_valid
from agentworkflow.cli.errors import CommandError
from agentworkflow.cli.inputs import parse_pairs
from agentworkflow.cli.starts import EventStart, RequestStart, choose_start
from agentworkflow.workflow.durations import parse_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """What the user wrote."""

    file: Path
    event: str | None = None
    input: str | None = None
    workflow: str | None = None
    session: str | None = None
    timeout: str | None = None
    secrets: Path | None = None
    commands: tuple[str, ...] = ()
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A run that can be carried out.

    Attributes:
        line: what the user wrote.
        start: what to start.
        commands: by function, what starts its server.
        patience: seconds after which the run is cancelled, or None.
    """

    line: CommandLine
    start: RequestStart | EventStart
    commands: dict[str, str]
    patience: float | None


def prepare(line: CommandLine) -> Order:
    """Judge a command line and the file that it names; cheap things first.

    Raises:
        CommandError: the file or an option is wrong.
    """
    patience = None if line.timeout is None else _seconds(line.timeout)
    commands = parse_pairs(line.commands, "--command")
    start = choose_start(
        require_valid([line.file]),
        name=line.workflow,
        event=line.event,
        given=line.input,
        session=line.session,
    )
    require_handlers([start.workflow])
    return Order(line, start, commands, patience)


def _seconds(duration: str) -> float:
    try:
        return parse_duration(duration)
    except ValueError as error:
        raise CommandError(f"--timeout {duration} is no duration; write 30s or 5m.") from error
