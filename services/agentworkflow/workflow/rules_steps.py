"""Rules of steps: what each may hold together, whom it may name, and that needs make no cycle."""

from collections.abc import Iterator, Mapping, Sequence

from agentworkflow.workflow import crd_rules as words
from agentworkflow.workflow.findings import Fault, nearest
from agentworkflow.workflow.templates import is_template
from agentworkflow.workflow.view import View


def check_steps(spec: View) -> Iterator[Fault]:
    """Every breach of a rule about steps."""
    yield from unique_names(spec, "steps")
    names = spec.names("steps")
    for step in spec.objects("steps"):
        yield from _check_kind(step)
        yield from _check_input(step)
        yield from _check_wait(step.at("waitFor"))
        yield from check_function_exists(step, spec)
        yield from _check_needs(step, names)
    yield from _check_cycles(spec)


def unique_names(owner: View, key: str) -> Iterator[Fault]:
    """The names in a list are unique."""
    first: dict[str, int] = {}
    for position, each in enumerate(owner.members(key)):
        name = View.text(each, "name")
        if name is None:
            continue
        if name in first:
            yield each.at("name").fault(
                f'the name "{name}" is taken by {key}[{first[name]}]', "choose another name"
            )
        first.setdefault(name, position)


def unique_members(owner: View, key: str) -> Iterator[Fault]:
    """The texts in a list are unique."""
    seen: set[str] = set()
    for each in owner.members(key):
        if isinstance(each.value, str):
            if each.value in seen:
                yield each.fault(f'"{each.value}" is in the list twice', "remove one of them")
            seen.add(each.value)


def check_function_exists(owner: View, spec: View) -> Iterator[Fault]:
    """The function that a step or trigger names is one of the workflow's."""
    function = owner.text("function")
    functions = spec.names("functions")
    readable = isinstance(spec.at("functions").value, list | None)
    if function is not None and readable and function not in functions:
        hint = nearest(function, functions) or "add it to functions"
        yield owner.at("function").fault(f'there is no function "{function}"', hint)


def reachable(needs: Mapping[str, Sequence[str]], name: str) -> frozenset[str]:
    """Every step that ends before this one starts: its needs, and theirs."""
    found: set[str] = set()
    waiting = list(needs.get(name, ()))
    while waiting:
        need = waiting.pop()
        if need in needs and need not in found:
            found.add(need)
            waiting.extend(needs[need])
    return frozenset(found - {name})


def needs_of(spec: View) -> dict[str, list[str]]:
    """The names in `needs` of every step that has a name."""
    return {
        name: [need.value for need in step.members("needs") if isinstance(need.value, str)]
        for step in spec.objects("steps")
        if (name := step.text("name")) is not None
    }


def _check_kind(step: View) -> Iterator[Fault]:
    if step.has("function") == step.has("waitFor"):
        yield step.breach(words.STEP_KIND)
    if not step.has("function") and (step.has("forEach") or step.has("input")):
        yield step.breach(words.STEP_CALL_FIELDS)
    if step.has("parallelism") and not step.has("forEach"):
        yield step.breach(words.STEP_PARALLELISM)


def _check_input(step: View) -> Iterator[Fault]:
    given = step.at("input")
    # A text is judged with the expressions: it has to be a whole one.
    if given.value is not None and not isinstance(given.value, dict | str):
        yield given.fault(
            "a step's input is an object: its fields are the function's parameters",
            "write input: {name: value}, or one expression that gives an object",
        )


def _check_wait(wait: View) -> Iterator[Fault]:
    if not isinstance(wait.value, dict):
        return
    if wait.has("signal") == wait.has("duration"):
        yield wait.breach(words.WAIT_KIND)
    if wait.has("timeout") and not wait.has("signal"):
        yield wait.breach(words.WAIT_TIMEOUT)
    if wait.holds("default") and not wait.has("timeout"):
        yield wait.at("default").fault(
            "default is the value after a timeout, and there is none",
            "add timeout, or leave default out",
        )
    if is_template(wait.at("default").value):
        yield wait.at("default").fault(
            "default is a plain value: expressions in it are not evaluated",
            "write the value; or leave default out, with onFailure: Continue and a step after it",
        )


def _check_needs(step: View, names: Sequence[str]) -> Iterator[Fault]:
    yield from unique_members(step, "needs")
    own = step.text("name")
    for need in step.members("needs"):
        if not isinstance(need.value, str):
            continue
        if need.value == own:
            rule = words.STEP_SELF_NEED
            yield need.fault(rule.message, rule.hint)
        elif need.value not in names:
            others = [name for name in names if name != own]
            hint = nearest(need.value, others) or "add the step, or remove the name"
            yield need.fault(f'there is no step "{need.value}"', hint)


def _check_cycles(spec: View) -> Iterator[Fault]:
    needs = needs_of(spec)
    told: set[str] = set()
    for step in spec.objects("steps"):
        name = step.text("name")
        if name is None or name in told:
            continue
        cycle = _cycle_through(needs, name)
        if cycle:
            told.update(cycle)
            yield step.at("needs").fault(
                f"the steps wait for each other: {' → '.join([*cycle, name])}",
                f'remove one of these needs, such as "{cycle[1]}" here',
            )


def _cycle_through(needs: Mapping[str, Sequence[str]], start: str) -> list[str]:
    """The shortest way from a step over needs back to it, or nothing. Self-needs are told apart."""
    came_from: dict[str, str] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop(0)
        for need in needs.get(name, ()):
            if need == start and name != start:
                way = [name]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if need in needs and need not in came_from and need != start:
                came_from[need] = name
                waiting.append(need)
    return []
