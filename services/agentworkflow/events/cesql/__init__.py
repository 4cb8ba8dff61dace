"""CloudEvents SQL (CESQL) 1.0: expressions over the context attributes of an event.

`compile(text)` parses once; what it returns is evaluated in microseconds.
Evaluation never raises: it gives a value and the errors met, and stops at the first error
(the specification's «fail fast mode», which it recommends for filters).

Where the specification leaves room, or contradicts itself, this engine does as follows:

- AND, OR and XOR have one precedence and group from the right, as in the specification's own
  grammar and in the engine that Knative runs; write parentheses where you mix them.
- Arithmetic that leaves the 32-bit range is a MathError with value 0, as a division by zero is.
- `NOT 10` is `true` with a CastError, as the test kit wants: NOT takes only the integers 0 and 1,
  which the text's table casts to false and true.
- Attribute names are read without regard to case, as in the test kit: attributes are lower case.

The parser and its library are loaded by the first `compile`.
"""

from agentworkflow.events.cesql.expression import (
    ErrorKind,
    EvaluationError,
    Expression,
    ParseError,
    Value,
)

__all__ = ["ErrorKind", "EvaluationError", "Expression", "ParseError", "Value", "compile"]


def compile(text: str) -> Expression:  # noqa: A001 - cesql.compile, as re.compile
    """Compile a CESQL expression. Raises ParseError with line, column and what to write."""
    # Here, because loading the parser takes 90 ms that a host without CESQL filters never pays.
    from agentworkflow.events.cesql.evaluation import build  # noqa: PLC0415
    from agentworkflow.events.cesql.grammar import parse  # noqa: PLC0415

    return build(text, parse(text))
