"""The statements of a batch as a script, for `python -m service sql`."""

from __future__ import annotations

from service.database.statements import Statements, integers
from service.database.transaction import Transaction
from service.tables.in_use import by_id, not_in_use
from service.tables.table_reader import TableReader


async def script(transaction: Transaction, sql: Statements, tables: TableReader, lead_ids: list[int]) -> str:
    """Return the statements that a batch sends for these leads with all flags true, as a script to read or to run."""
    tables.invalidate()
    pair = await tables.read(transaction)
    in_use_query = by_id(pair.leads_in_use, integers(lead_ids))
    uses = dict(await transaction.select(in_use_query)) if in_use_query else {}
    header = "".join(f"-- {lead_id} is in use ({uses[lead_id]}): left alone.\n" for lead_id in sorted(uses))
    moved = [lead_id for lead_id in lead_ids if lead_id not in uses]
    if not moved:
        return header
    # Here DELETE asks all tables that show leads in use: a script cannot look at them before its COMMIT.
    values = {**pair.values, "lead_ids": integers(moved), "not_in_use": not_in_use(pair.leads_in_use)}
    order = [sql.select_leads, sql.look_at_copies, sql.insert_leads, sql.update_leads, sql.delete_leads, sql.select_leads]
    between = "" if pair.one_transaction else "COMMIT;\n\nSTART TRANSACTION;\n\n"
    text = between.join(f"{statement.fill(values)};\n\n" for statement in order)
    checks = sql.set_foreign_key_checks.fill(values)
    return f"{header}{checks};\n\nSTART TRANSACTION;\n\n{text}COMMIT;\n"
