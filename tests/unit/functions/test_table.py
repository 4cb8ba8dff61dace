import json
from pathlib import Path
from typing import Any

import pytest

from agentworkflow.functions.table import (
    TableError,
    dump_table,
    parse_table,
    read_table,
    table_of_handler,
)

FULL: dict[str, Any] = {
    "namespace": "shop",
    "workflow": "orders",
    "role": "pool",
    "path": ["/a"],
    "preload": ["pandas"],
    "callback": "http://127.0.0.1:1",
    "functions": [
        {
            "name": "analyze",
            "handler": "pkg.mod:attr.method",
            "timeout": 3,
            "concurrency": 2,
            "memory": 1024,
            "inputSchema": {"type": "object"},
            "outputSchema": None,
            "triggers": [{"name": "upload", "input": {"a": "${event.data}"}, "reply": "x.y"}],
        }
    ],
}


def test_a_table_says_all_of_its_members() -> None:
    table = parse_table(FULL)
    assert (table.namespace, table.workflow, table.role) == ("shop", "orders", "pool")
    entry = table.by_name["analyze"]
    assert (entry.timeout, entry.concurrency, entry.memory) == (3.0, 2, 1024)
    trigger = entry.trigger("upload")
    assert trigger is not None
    assert trigger.reply == "x.y"
    assert entry.trigger("other") is None


def test_what_is_absent_has_the_defaults_of_the_resource() -> None:
    entry = parse_table({"functions": [{"name": "a", "handler": "m:a"}]}).functions[0]
    assert (entry.timeout, entry.concurrency, entry.memory) == (60.0, 10, None)


def test_a_table_survives_the_way_to_the_zygote() -> None:
    table = parse_table(FULL)
    again = parse_table(dump_table(table) | {"callback": table.callback})
    assert again == table


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"functions": None}, "functions: is empty"),
        ({"functions": {}}, "functions: must be a list"),
        ({"functions": [1]}, "functions[0]: must be an object"),
        ({"functions": [{"handler": "a:b"}]}, "functions[0].name: is missing"),
        ({"functions": [{"name": "a", "handler": "a"}]}, "functions[0].handler: is 'a'"),
        ({"functions": [{"name": "a", "handler": "a:b", "timeout": 0}]}, "[0].timeout: is 0"),
        ({"functions": [{"name": "a", "handler": "a:b", "memory": True}]}, "[0].memory: is True"),
        ({"functions": [{"name": "a", "handler": "a:b"}] * 2}, "two of them have one name"),
        ({"role": "both"}, "role: is 'both'"),
        ({"workflow": ""}, "workflow: must be a non-empty string"),
    ],
)
def test_a_wrong_table_says_where(change: dict[str, Any], words: str) -> None:
    with pytest.raises(TableError) as caught:
        parse_table(FULL | change)
    assert words in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        read_table(tmp_path / "none.json")
    file = tmp_path / "table.json"
    file.write_text(json.dumps(FULL))
    assert read_table(file) == parse_table(FULL)


def test_one_handler_makes_a_table_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = table_of_handler("shop.orders:analyze_data", None)
    assert table.functions[0].name == "analyze-data"
    assert table.path == (str(tmp_path), str(tmp_path / "src"))
    assert table_of_handler("a:b", "mine").functions[0].name == "mine"
    with pytest.raises(TableError, match=r"--handler: is 'a\.b'"):
        table_of_handler("a.b", None)
