"""Every place of the resource that holds `${…}`, with the names that exist there."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from agentworkflow.workflow.expressions import Scope, implies_event
from agentworkflow.workflow.findings import Fault
from agentworkflow.workflow.rules_steps import needs_of, reachable
from agentworkflow.workflow.templates import check_template
from agentworkflow.workflow.view import View

_RUN: Final = frozenset({"input", "event", "session", "run", "steps"})
_ITEM: Final = frozenset({"item", "index"})
_EVENT_ONLY: Final = Scope(roots=frozenset({"event"}))
# The body of the request, as the default input is.
_BODY_ONLY: Final = Scope(roots=frozenset({"input"}))

_SYNTAX_HINT: Final = "correct it at this place; CEL is written as ${input.amount > 3 && true}"
_WHOLE_HINT: Final = "put all of it into one ${…}"
_INPUT_HINT: Final = "write input: {name: value}, or one expression that gives an object"


def check_expressions(spec: View) -> Iterator[Fault]:
    """Every error in an expression."""
    for trigger in spec.objects("triggers"):
        if not trigger.has("function"):
            yield from _check(trigger.at("input"), _EVENT_ONLY)
            yield from _check(trigger.at("session"), _EVENT_ONLY)
    for route in spec.objects("routes"):
        yield from _check(route.at("input"), _BODY_ONLY)
    needs = needs_of(spec)
    every = frozenset(needs)
    # A run may always be started by the API, so event is never certain by itself.
    run = Scope(roots=_RUN, steps=every, all_steps=every, event_is_certain=False)
    for step in spec.objects("steps"):
        before = reachable(needs, step.text("name") or "")
        for fault in _check_step(step, replace(run, steps=before)):
            yield _about_itself(fault, step)
    yield from _check(spec.at("output"), run)
    yield from _check(spec.at("session").at("update"), run)


def _about_itself(fault: Fault, step: View) -> Fault:
    # The advice to add a need would make the step wait for itself.
    if fault.message != f"step `{step.text('name')}` may not have ended here":
        return fault
    return replace(fault, message="a step cannot read its own result", hint="name another step")


def _check_step(step: View, scope: Scope) -> Iterator[Fault]:
    when = step.at("when")
    yield from _check(when, scope, whole=True)
    if isinstance(when.value, str) and implies_event(when.value.strip()[2:-1]):
        scope = replace(scope, event_is_certain=True)
    yield from _check(step.at("forEach"), scope, whole=True)
    if step.has("forEach"):
        scope = replace(scope, roots=scope.roots | _ITEM)
    given = step.at("input")
    if isinstance(given.value, str):
        yield from _check(given, scope, whole=True, whole_hint=_INPUT_HINT)
    else:
        yield from _check(given, scope)


def _check(
    place: View, scope: Scope, *, whole: bool = False, whole_hint: str = _WHOLE_HINT
) -> Iterator[Fault]:
    if place.value is None or (whole and not isinstance(place.value, str)):
        return
    findings = check_template(place.value, scope)
    for found in findings:
        message, hint = _in_our_words(found.message, found.hint)
        yield Fault((*place.path, *found.path), message, hint, column=found.column)
    if whole and check_template(place.value, scope, whole=True) != findings:
        yield place.fault("must be one whole expression, with no text around it", whole_hint)


def _in_our_words(message: str, hint: str) -> tuple[str, str]:
    if not message.startswith("Syntax error"):
        return message, hint
    # The parser lists every token that it could have gone on with; that helps nobody.
    said = message.split(" expecting {", maxsplit=1)[0]
    said = said.replace("mismatched input", "unexpected").replace("'<EOF>'", "end")
    return f"the expression does not parse: {said.removeprefix('Syntax error: ')}", _SYNTAX_HINT
