#!/usr/bin/python3 -BSE
"""ledger.py DATABASE SECONDS [ready=NAME] [receives=yes]: rows in SQLite (WAL); one transaction, committed at the end.

``receives``: it commits what it has when it is told, which takes so long; without, it commits after so long.
"""

import sqlite3
import time

from common import PIECES, Signals, ready, words

(name, seconds), options = words()
signals = Signals("TERM") if options.get("receives") else None
ledger = sqlite3.connect(name)
ledger.execute("pragma journal_mode=wal")
ledger.execute("create table if not exists rows (number integer)")
ledger.commit()
ready(options)
if signals is not None:
    signals.wait()
for number in range(PIECES):
    ledger.execute("insert into rows values (?)", (number,))
    time.sleep(float(seconds) / PIECES)
ledger.commit()
ledger.close()
