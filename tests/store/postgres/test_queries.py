"""Every statement stays with one execution's key: parsed, none joins two executions, so the schema can be sharded by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pglast import ast, parse_sql

from perdure.store import queries
from perdure.store.postgres.partitions import TABLES
from perdure.store.postgres.schema import MIGRATIONS

SHARDED = {*TABLES, "executions", "wakes", "subscriptions", "locks", "leftovers", "tasks"}
"""Tables whose rows belong to one execution."""
SQL = queries.load("perdure.store.postgres")


@dataclass
class Block:
    """A query, with the subqueries that speak of it: its tables by the names they have in it, and what it says is equal."""

    tables: dict[str, str] = field(default_factory=dict)  # all names in it → the table, or nothing
    equal: list[tuple[str, str]] = field(default_factory=list)  # names whose executions are the same

    def apart(self) -> list[str]:
        """The sharded tables that are in it by the side of others, without being of the same execution."""
        sharded = [name for name, table in self.tables.items() if table in SHARDED]
        reached = set(sharded[:1])
        while True:
            more = {other for pair in self.equal for one, other in (pair, pair[::-1]) if one in reached} - reached
            if not more:
                return [self.tables[name] for name in sharded if name not in reached]
            reached |= more


def blocks(sql: str) -> Iterator[Block]:
    """The queries that a statement is made of."""
    (statement,) = parse_sql(sql)
    yield from _blocks(statement.stmt, [])


def _blocks(query: Any, outer: list[Block]) -> Iterator[Block]:
    for cte in query.withClause.ctes if getattr(query, "withClause", None) is not None else ():
        yield from _blocks(cte.ctequery, [])
    if isinstance(query, ast.SelectStmt) and query.larg is not None:
        yield from _blocks(query.larg, outer)
        yield from _blocks(query.rarg, outer)
        return
    if isinstance(query, ast.InsertStmt):
        yield from _blocks(query.selectStmt, [])
        return
    block = Block()
    parts = [getattr(query, name) for name in ("fromClause", "usingClause", "relation") if getattr(query, name, None)]
    for node in _walk(parts, into_subqueries=False):
        if isinstance(node, ast.RangeVar | ast.RangeFunction | ast.RangeSubselect):
            name = node.alias.aliasname if node.alias is not None else getattr(node, "relname", "")
            block.tables[name] = getattr(node, "relname", "")
    around = outer[-1] if outer and _speaks_of(query, outer[-1]) else None
    if around is not None:
        around.tables |= block.tables
        block = around
    block.equal += _equalities(query)
    for node in _walk([getattr(query, name) for name in query.__slots__ if name != "withClause"], into_subqueries=False):
        if isinstance(node, ast.SubLink):
            yield from _blocks(node.subselect, [block])
        elif isinstance(node, ast.RangeSubselect):
            yield from _blocks(node.subquery, [block] if node.lateral else [])
    if around is None:
        yield block


def _speaks_of(query: Any, outer: Block) -> bool:
    """Whether a subquery is correlated with the one around it, but for the priorities that one goes through."""
    names = {node.fields[0].sval for node in _walk([query]) if isinstance(node, ast.ColumnRef) and len(node.fields) == 2}
    return bool(names & {name for name, table in outer.tables.items() if table})


def _equalities(query: Any) -> list[tuple[str, str]]:
    found = []
    for node in _walk([getattr(query, name) for name in query.__slots__ if name != "withClause"], into_subqueries=False):
        if isinstance(node, ast.A_Expr) and node.name[0].sval == "=" and node.kind == 0:
            sides = (node.lexpr, node.rexpr)
            if all(isinstance(side, ast.ColumnRef) and side.fields[-1].sval == "execution" for side in sides):
                found.append((node.lexpr.fields[0].sval, node.rexpr.fields[0].sval))
    return found


def _walk(nodes: Any, *, into_subqueries: bool = True) -> Iterator[Any]:
    for node in nodes:
        if isinstance(node, tuple | list):
            yield from _walk(node, into_subqueries=into_subqueries)
        elif isinstance(node, ast.Node):
            yield node
            if into_subqueries or not isinstance(node, ast.SubLink | ast.RangeSubselect):
                yield from _walk([getattr(node, name) for name in node.__slots__], into_subqueries=into_subqueries)


@pytest.mark.parametrize("name", SQL)
def test_no_statement_spans_two_executions(name: str) -> None:
    """Where rows of several tables meet, they meet by the execution that all of them belong to."""
    for block in blocks(SQL[name]):
        assert block.apart() == [], f"{name} brings rows of several executions together"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM perdure.executions AS e JOIN perdure.executions AS p ON p.execution = e.parent",
        "SELECT 1 FROM perdure.inbox AS i JOIN perdure.executions AS e ON e.execution = i.sender",
        "SELECT 1 FROM perdure.executions AS e WHERE EXISTS (SELECT 1 FROM perdure.inbox AS i WHERE i.sender = e.execution)",
        "DELETE FROM perdure.inbox AS i USING perdure.executions AS e WHERE i.tenant = e.tenant",
        "UPDATE perdure.executions AS e SET home = '' FROM perdure.wakes AS w WHERE w.tenant = e.tenant",
    ],
)
def test_a_statement_that_spans_two_is_noticed(sql: str) -> None:
    """A join of parent and child, of sender and receiver, or by anything but the execution."""
    assert any(block.apart() for block in blocks(sql))


def test_every_sharded_key_leads_with_what_it_is_sharded_by() -> None:
    """The primary keys of the tables of one execution hold it, which both partitions and shards ask for."""
    keys = {}
    for statement in parse_sql("".join(migration.sql for migration in MIGRATIONS)):
        if isinstance(statement.stmt, ast.CreateStmt) and statement.stmt.partbound is None:
            name = statement.stmt.relation.relname
            for element in statement.stmt.tableElts or ():
                if isinstance(element, ast.Constraint) and element.keys:
                    keys[name] = [key.sval for key in element.keys]
                elif isinstance(element, ast.ColumnDef) and any(
                    constraint.contype.name == "CONSTR_PRIMARY" for constraint in element.constraints or ()
                ):
                    keys[name] = [element.colname]
    # A lock is one for all executions that want it: its key is what it is for, and its row belongs to its holder.
    assert {table for table in SHARDED if "execution" not in keys[table]} == {"locks"}
    assert all(keys[table][0] == "execution" for table in SHARDED - {"locks", "subscriptions"})
