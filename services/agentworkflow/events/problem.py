"""Problem details (RFC 9457): the one shape in which a refusal leaves this system."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong, and where: `path` is an attribute name or a path into the input."""

    path: str
    message: str

    def to_json(self) -> dict[str, str]:
        """Return the member of a problem's `errors` list."""
        return {"path": self.path, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What failed, in words for a person (`title`, `detail`) and places for a program (`errors`).

    `status` is the HTTP status; None where no HTTP answer is meant, as in a failed step's data.
    `extensions` are further members of the JSON object, such as `reason`; they never replace
    a standard one.
    """

    type: str = "about:blank"
    title: str
    status: int | None = None
    detail: str = ""
    errors: tuple[FieldError, ...] = ()
    extensions: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of `application/problem+json`; empty members are left out."""
        members: dict[str, Any] = dict(self.extensions)
        members |= {"type": self.type, "title": self.title}
        if self.status is not None:
            members["status"] = self.status
        if self.detail:
            members["detail"] = self.detail
        if self.errors:
            members["errors"] = [error.to_json() for error in self.errors]
        return members


class MalformedEvent(ValueError):  # noqa: N818 - the name callers know from the protocol
    """A message that is not a valid CloudEvent 1.0.

    `problem` is ready to be sent; its `errors` name every attribute that is wrong.
    `attribute` is the first of them, or None if the message as a whole is wrong.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem

    @property
    def attribute(self) -> str | None:
        """The first attribute that is wrong, `data` for the payload, None for the message."""
        return self.problem.errors[0].path if self.problem.errors else None

    def __reduce__(self) -> tuple[type["MalformedEvent"], tuple[Problem]]:
        return (MalformedEvent, (self.problem,))


def malformed(*errors: FieldError) -> MalformedEvent:
    """Build the refusal of an event whose attributes or data are wrong."""
    detail = "; ".join(f"{error.path}: {error.message}" for error in errors)
    return MalformedEvent(
        Problem(title="Malformed CloudEvent", status=400, detail=detail, errors=errors)
    )


def malformed_message(detail: str, status: int = 400) -> MalformedEvent:
    """Build the refusal of a message that is wrong as a whole."""
    return MalformedEvent(Problem(title="Malformed CloudEvent", status=status, detail=detail))
