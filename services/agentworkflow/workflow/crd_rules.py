"""The rules over several fields that the CRD states too, in CEL and in our words.

The words stand here once: the API server prints them, and so does `agentworkflow validate`.
`function` is a reserved word of CEL, so Kubernetes has it written `__function__`. A free-form
field (`input`, `default`, `output`) cannot be named in them at all: what concerns it is left to
the operator.
"""

from typing import Any, Final, NamedTuple

RESERVED_PATHS: Final = ("/v1", "/e", "/blobs", "/healthz", "/readyz", "/metrics", "/docs")
# Fields of spec that say something about a run, and mean nothing without one.
RUN_FIELDS: Final = ("routes", "inputSchema", "deadline", "output", "budget", "session")


class CelRule(NamedTuple):
    """One rule: true where the object is valid, and what to say where it is not."""

    rule: str
    message: str
    hint: str
    field: str = ""

    @property
    def keywords(self) -> dict[str, str]:
        """The rule as an entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": f"{self.message}: {self.hint}"}
        return {**entry, "fieldPath": self.field} if self.field else entry


def stated(*rules: CelRule) -> dict[str, Any]:
    """The rules of one object, as keywords of its schema."""
    return {"x-kubernetes-validations": [rule.keywords for rule in rules]}


ONE_PLAN: Final = CelRule(
    "(has(self.steps) && size(self.steps) > 0) != (has(self.triggers) && size(self.triggers) > 0"
    " && self.triggers.all(t, has(t.__function__)))",
    "a workflow has exactly one of: steps, or triggers that all name a function",
    "write steps, and not only triggers with a function; or no steps, and a function in each",
)
RUN_FIELDS_NEED_STEPS: Final = CelRule(
    "(has(self.steps) && size(self.steps) > 0) || !("
    + " || ".join(f"has(self.{name})" for name in RUN_FIELDS if name != "output")
    + ")",
    "routes, inputSchema, deadline, output, budget and session are about a run,"
    " and this workflow has no steps",
    "write steps, or leave them out",
)
STEP_FUNCTIONS_EXIST: Final = CelRule(
    "!has(self.steps) || self.steps.all(s, !has(s.__function__) || (has(self.functions)"
    " && self.functions.exists(f, f.name == s.__function__)))",
    "a step names a function that is not in functions",
    "add it to functions, or correct the name",
    ".steps",
)
TRIGGER_FUNCTIONS_EXIST: Final = CelRule(
    "!has(self.triggers) || self.triggers.all(t, !has(t.__function__) || (has(self.functions)"
    " && self.functions.exists(f, f.name == t.__function__)))",
    "a trigger names a function that is not in functions",
    "add it to functions, or correct the name",
    ".triggers",
)
STEP_KIND: Final = CelRule(
    "has(self.__function__) != has(self.waitFor)",
    "a step has exactly one of function and waitFor",
    "write one of them",
)
STEP_CALL_FIELDS: Final = CelRule(
    "has(self.__function__) || !has(self.forEach)",
    "forEach and input belong to a step with a function",
    "add function, or leave them out",
)
STEP_PARALLELISM: Final = CelRule(
    "has(self.forEach) || !has(self.parallelism)",
    "parallelism belongs to a step with forEach",
    "add forEach, or leave parallelism out",
    ".parallelism",
)
STEP_SELF_NEED: Final = CelRule(
    "!has(self.needs) || !(self.name in self.needs)",
    "a step cannot need itself",
    "remove its own name from needs",
    ".needs",
)
WAIT_KIND: Final = CelRule(
    "has(self.signal) != has(self.duration)",
    "waitFor has exactly one of signal and duration",
    "write one of them",
)
WAIT_TIMEOUT: Final = CelRule(
    "has(self.signal) || !has(self.timeout)",
    "timeout belongs to waitFor with a signal",
    "add signal, or leave timeout out",
    ".timeout",
)
FUNCTION_TIME: Final = CelRule(
    "duration(self.timeout) + duration(self.startTimeout) <= duration('1h')",
    "timeout and startTimeout are more than 1h together",
    "lower one of them",
    ".startTimeout",
)
SCALE_ORDER: Final = CelRule(
    "self.min <= self.max",
    "scale.min is above scale.max",
    "lower min, or raise max",
    ".min",
)
ROUTE_RESERVED: Final = CelRule(
    "!self.path.matches('^/(" + "|".join(path[1:] for path in RESERVED_PATHS) + ")(/.*)?$')",
    "the path is reserved for the dispatcher's own API: "
    + ", ".join(RESERVED_PATHS)
    + " and what is below them",
    "choose another path",
    ".path",
)
ROUTE_WAIT: Final = CelRule(
    "self.response == 'Wait' || !has(self.wait)",
    "wait belongs to response: Wait",
    "leave wait out, or write response: Wait",
    ".wait",
)
TRIGGER_REPLY: Final = CelRule(
    "has(self.__function__) || !has(self.reply)",
    "reply is the type of a function's answer, and this trigger starts a run",
    "add function, or leave reply out",
    ".reply",
)
TRIGGER_SESSION: Final = CelRule(
    "!has(self.__function__) || !has(self.session)",
    "session belongs to a run, and this trigger calls a function alone",
    "leave function or session out",
    ".session",
)
VARIABLE_KIND: Final = CelRule(
    "!(has(self.value) && has(self.valueFrom))",
    "a variable has at most one of value and valueFrom",
    "leave one of them out",
)
SOURCE_KIND: Final = CelRule(
    "has(self.schedule)",
    "a source needs a kind",
    'write schedule: {cron: "0 2 * * *"}',
)
VALUE_FROM_KIND: Final = CelRule(
    "has(self.secretKeyRef) != has(self.configMapKeyRef)",
    "valueFrom has exactly one of secretKeyRef and configMapKeyRef",
    "write one of them",
)
ENV_FROM_KIND: Final = CelRule(
    "has(self.secretRef) != has(self.configMapRef)",
    "an entry of envFrom has exactly one of secretRef and configMapRef",
    "write one of them",
)
