"""What the service relies on: all that must be true of the server, the account and the two tables before a lead is moved.

What is known to be safe is listed here. Anything else is refused, with the statement that fixes it where there is one: a
request is answered with 503, and /readyz and `check` say why (docs/readiness.md). No precondition can tell what belongs to a
single row: the statements see it themselves, and such a lead stays where it is.

    server.py         the version, variables of the session, errors that an administrator can fix
    tables.py         engines, columns and lead_id of the two tables
    foreign_keys.py   what refers to the two tables, and what they refer to

Privileges are tried: service/tables/statement_trial.py.
"""
