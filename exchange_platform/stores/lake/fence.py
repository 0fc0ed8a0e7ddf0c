"""What analysts' SQL may do: one query that reads the lake. Decided on DuckDB's own parse of the text, by
lists of what is allowed.

This is one layer. The connection that runs the query is another: it reaches no file outside the lake's, can't
be configured, and its catalog is attached for reading (connection.py). Finding the query inside EXPLAIN and
PIVOT is statements.py's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb
import msgspec

from exchange_platform.stores.lake.statements import explained, with_explicit_columns


class QueryError(ValueError):
    """A query that the lake refuses. The message is for whoever wrote it."""


LAKE = "lake"
_ALLOWED = "Allowed is what reads: SELECT, FROM, WITH, SHOW, DESCRIBE, SUMMARIZE, EXPLAIN, PIVOT"

_SCHEMAS = ("", "main", LAKE)
_INFORMATION = "information_schema"
_SHOWN = ('"tables"', '"databases"', "__show_tables_expanded")
"""What SHOW may name that is no table: SHOW TABLES, SHOW DATABASES, SHOW ALL TABLES."""

_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLES = {
    "BASE_TABLE",
    "SUBQUERY",
    "JOIN",
    "TABLE_FUNCTION",
    "EXPRESSION_LIST",
    "EMPTY",
    "PIVOT",
    "SHOW_REF",
}
_MODIFIERS = {"ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER"}
_ORDERS = {"ORDER_DEFAULT", "ASCENDING", "DESCENDING"}
_TYPES = _NODES | _TABLES | _MODIFIERS | _ORDERS
_EXPRESSIONS = {
    "BETWEEN",
    "CASE",
    "CAST",
    "COLLATE",
    "COLUMN_REF",
    "COMPARISON",
    "CONJUNCTION",
    "CONSTANT",
    "DEFAULT",
    "FUNCTION",
    "LAMBDA",
    "LAMBDA_REF",
    "OPERATOR",
    "POSITIONAL_REFERENCE",
    "STAR",
    "SUBQUERY",
    "WINDOW",
}

_TABLE_FUNCTIONS = {"generate_series", "json_each", "json_tree", "range", "repeat", "unnest"}
_LAKE_FUNCTIONS = {
    "ducklake_current_snapshot",
    "ducklake_last_committed_snapshot",
    "ducklake_list_files",
    "ducklake_snapshots",
    "ducklake_table_changes",
    "ducklake_table_deletions",
    "ducklake_table_info",
    "ducklake_table_insertions",
}
"""They read, and take the lake's name first."""

_KINDS = ("scalar", "aggregate", "macro")
_REFUSED_FUNCTIONS = {
    "current_setting": "it shows the configuration",
    "currval": "it belongs to sequences",
    "getvariable": "it shows the session's variables",
    "json_serialize_plan": "it opens what the text that it is given names",
    "nextval": "it changes a sequence",
    "pg_sleep": "it only waits",
    "sleep_ms": "it only waits",
    "write_log": "it writes",
}
SIDE_EFFECTS_KNOWN = {
    "current_connection_id",
    "current_query",
    "current_query_id",
    "current_transaction_id",
} | {
    "error",
    "gen_random_uuid",
    "random",
    "setseed",
    "stats",
    "uuid",
    "uuidv4",
    "uuidv7",
}
"""Functions that DuckDB says have side effects, and that change nothing here."""


@dataclass(frozen=True, slots=True)
class _System:
    """What DuckDB itself brings, before any extension is loaded."""

    functions: frozenset[str]
    views: frozenset[str]


def checked(session: duckdb.DuckDBPyConnection, sql: str) -> Sequence[duckdb.Statement]:
    """The text's statements, to be executed in their order; the last one's answer counts, any before it make
    a PIVOT's columns.

    Raises `QueryError` for all that is no single query of the lake, and DuckDB's own error for what it can't
    parse.
    """
    if "\0" in sql or not _is_unicode(sql):
        raise QueryError("a query is Unicode text without the character NUL")
    statements = session.extract_statements(sql)
    if not statements:
        raise QueryError("one statement is allowed, this is 0")
    inner = explained(sql)
    if inner is not None and len(statements) == 1 and statements[0].type == duckdb.StatementType.EXPLAIN:
        _check(_only(session, inner, "EXPLAIN of anything but one query is refused"))
        return statements
    explicit = with_explicit_columns(sql) if _may_be_pivot(statements) else None
    query = _serialised(session, sql if explicit is None else explicit)
    if isinstance(query, str) or len(query) != 1 or (explicit is None and len(statements) != 1):
        raise QueryError(_refusal(sql, statements))
    _check(query[0])
    return statements


def _may_be_pivot(statements: Sequence[duckdb.Statement]) -> bool:
    """Whether DuckDB may have made these of one PIVOT: temporary types for its columns, then the query."""
    kinds = [statement.type for statement in statements]
    return (
        len(kinds) > 1
        and set(kinds[:-1]) == {duckdb.StatementType.CREATE}
        and kinds[-1] == duckdb.StatementType.SELECT
    )


def _refusal(sql: str, statements: Sequence[duckdb.Statement]) -> str:
    if len(statements) != 1:
        return f"one statement is allowed, this is {len(statements)}"
    kind = statements[0].type.name
    if kind == "SELECT":  # DuckDB makes a query of some PRAGMAs
        kind = sql.split(maxsplit=1)[0].upper()
    return f"{kind} is refused: the lake is written by its consumers alone. {_ALLOWED}"


def _only(session: duckdb.DuckDBPyConnection, sql: str, otherwise: str) -> Mapping[str, Any]:
    query = _serialised(session, sql)
    if isinstance(query, str) or len(query) != 1:
        raise QueryError(f"{otherwise}. {_ALLOWED}")
    return query[0]


def _serialised(session: duckdb.DuckDBPyConnection, sql: str) -> list[Mapping[str, Any]] | str:
    """DuckDB's parse of a text that is all queries; else its reason why not."""
    row = session.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    try:
        parsed = msgspec.json.decode(row[0] if row else "{}")
    except RecursionError:
        raise QueryError("the query is nested too deeply") from None
    if parsed.get("error", True):
        return str(parsed.get("error_message"))
    return list(parsed["statements"])


def _check(statement: Mapping[str, Any]) -> None:
    """Look at every part of a query. Raises `QueryError` at the first that is not allowed."""
    parts: list[tuple[Any, frozenset[str]]] = [(statement["node"], frozenset())]
    while parts:
        part, names = parts.pop()
        if isinstance(part, list):
            parts += ((one, names) for one in part)
        elif isinstance(part, dict):
            _check_part(part, names)
            parts += _inside(part, names)


def _check_part(part: Mapping[str, Any], names: Collection[str]) -> None:
    if "class" in part:
        if part["class"] not in _EXPRESSIONS:
            raise QueryError(f"{part['class']} is refused in a query")
        if part.get("function_name"):
            _check_function(part)
        return
    kind = part.get("type")
    if not isinstance(kind, str):
        return
    if kind not in _TYPES and not kind.endswith("_TYPE_INFO"):
        raise QueryError(f"{kind} is refused in a query")
    match kind:
        case "BASE_TABLE":
            _check_table(part, names)
        case "TABLE_FUNCTION":
            _check_table_function(part["function"])
        case "SHOW_REF":
            _check_shown(part)
        case _:
            pass


def _inside(part: Mapping[str, Any], names: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """The parts of a part, each with the names of the common table expressions that it sees."""
    if part.get("class") == "CONSTANT":
        return
    kind = part.get("type")
    own = names
    if "cte_map" in part:
        for entry in part["cte_map"]["map"]:
            _check_name(entry["key"])
            yield entry["value"], own
            own |= {entry["key"].lower()}
    if kind == "TABLE_FUNCTION":
        yield list(part["function"].values()), own
    for key, value in part.items():
        if key == "cte_map" or (kind == "TABLE_FUNCTION" and key == "function"):
            continue
        if kind == "RECURSIVE_CTE_NODE" and key == "right":
            _check_name(part["cte_name"])
            yield value, own | {part["cte_name"].lower()}
        elif kind == "CTE_NODE" and key == "child":
            yield value, own | {str(part.get("cte_name") or part.get("ctename")).lower()}
        elif isinstance(value, dict | list):
            yield value, own


def _check_name(name: str) -> None:
    """A common table expression may not be called as something that it could be taken for."""
    if name.lower() in _system().views or not _is_word(name):
        raise QueryError(f"{name!r} can't be the name of a common table expression here")


def _check_table(part: Mapping[str, Any], names: Collection[str]) -> None:
    catalog, schema, name = (str(part.get(key, "")) for key in ("catalog_name", "schema_name", "table_name"))
    whole = ".".join(filter(None, (catalog, schema, name)))
    catalog, schema = catalog.lower(), schema.lower()
    if not catalog and not schema and name.lower() in names:
        return
    if not _is_word(name):
        raise QueryError(
            f"{name!r} is not a table of the lake, and nothing else can be read. SHOW TABLES lists them"
        )
    if schema == _INFORMATION and catalog in ("", LAKE):
        return
    if catalog not in ("", LAKE) or schema not in _SCHEMAS or name.lower() in _system().views:
        raise QueryError(
            f"{whole} is refused: the lake's tables and {_INFORMATION} can be read. SHOW TABLES lists them"
        )


def _check_function(part: Mapping[str, Any]) -> None:
    """By its name alone: what stands before it may be a column (`market_id.lower()`), and nobody can make a
    function of such a name.
    """
    name = str(part["function_name"]).lower()
    if name in _REFUSED_FUNCTIONS:
        raise QueryError(f"the function {name} is refused: {_REFUSED_FUNCTIONS[name]}")
    if name not in _system().functions:
        raise QueryError(
            f"the function {name} is refused or does not exist: DuckDB's scalar, aggregate and window functions are allowed"
        )


def _check_table_function(function: Mapping[str, Any]) -> None:
    name = str(function.get("function_name", "")).lower()
    if function.get("schema") not in (None, "", "main") or function.get("catalog"):
        raise QueryError(f"the table function {name} is refused: functions need no prefix")
    if name in _TABLE_FUNCTIONS:
        return
    first: Mapping[str, Any] = next(iter(function.get("children") or []), {})
    if name in _LAKE_FUNCTIONS and (first.get("value") or {}).get("value") == LAKE:
        return
    allowed = ", ".join(sorted(_TABLE_FUNCTIONS | {f"{one}('{LAKE}', ...)" for one in _LAKE_FUNCTIONS}))
    raise QueryError(f"the table function {name} is refused. Allowed are {allowed}")


def _check_shown(part: Mapping[str, Any]) -> None:
    if part.get("query") is not None:
        return
    catalog, schema = str(part.get("catalog_name", "")).lower(), str(part.get("schema_name", "")).lower()
    if catalog not in ("", LAKE) or schema not in _SCHEMAS:
        raise QueryError(f"SHOW TABLES FROM {schema} is refused: only the lake's are shown")
    if part.get("show_type") != "SHOW_FROM" and part.get("table_name") not in _SHOWN:
        raise QueryError(f"SHOW {part.get('table_name')} is refused. {_ALLOWED}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of a command line that are no UTF-8
        return False
    return True


def _is_word(name: str) -> bool:
    """Whether a name can't be a file's: DuckDB takes a name with a dot or a slash for one where it knows no
    such table.
    """
    return name.replace("_", "").replace(" ", "").isalnum()


@cache
def _system() -> _System:
    """Of a DuckDB without extensions: theirs open files and servers."""
    with duckdb.connect() as fresh:
        kinds = ", ".join(f"'{kind}'" for kind in _KINDS)
        functions = fresh.execute(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions()"
            f" WHERE internal AND function_type IN ({kinds}) AND NOT starts_with(function_name, '__')"
        ).fetchall()
        views = fresh.execute("SELECT lower(view_name) FROM duckdb_views() WHERE internal").fetchall()
        effects = fresh.execute(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE has_side_effects"
        ).fetchall()
    unknown = {name for (name,) in effects} - SIDE_EFFECTS_KNOWN
    return _System(
        frozenset(name for (name,) in functions) - _REFUSED_FUNCTIONS.keys() - unknown | {"unnest"},
        frozenset(name for (name,) in views),
    )
