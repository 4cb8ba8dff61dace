"""The object that `run --json` prints."""

from agentworkflow.cli.single_run import build_result


def test_the_object_has_the_promised_members_and_no_others() -> None:
    step = {
        "name": "cost",
        "state": "Succeeded",
        "reason": None,
        "attempts": 1,
        "startType": "cold",
        "durationMs": 5,
        "output": 3,
        "problem": None,
        "items": None,
    }
    view = {
        "run": "r",
        "namespace": "default",
        "workflow": "shop",
        "state": "Succeeded",
        "reason": None,
        "problem": None,
        "output": 3,
        "durationMs": 9,
        "steps": [step],
    }

    assert build_result(view) == {
        "run": "r",
        "state": "Succeeded",
        "reason": None,
        "problem": None,
        "output": 3,
        "steps": [
            {
                "name": "cost",
                "state": "Succeeded",
                "reason": None,
                "attempts": 1,
                "startType": "cold",
                "durationMs": 5,
                "output": 3,
            }
        ],
        "durationMs": 9,
    }
