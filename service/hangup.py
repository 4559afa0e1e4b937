"""Imported before everything else by `python -m service`: SIGHUP must not end a service that starts.

It reloads what can be reloaded. To import the other modules takes half a second. The commands are ended by it.
"""

from __future__ import annotations

import signal
import sys

if not sys.argv[1:]:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
