-- In the statements that `python -m service sql` prints, after session: somebody may read, and pause, between two of them.
SET idle_transaction_timeout = DEFAULT, wait_timeout = DEFAULT
