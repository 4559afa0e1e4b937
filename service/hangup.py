"""Imported before everything else by the service, not by its commands: SIGHUP must not end a process that starts.

It reloads what can be reloaded. To import the other modules takes half a second.
"""

from __future__ import annotations

import signal
import sys

if not sys.argv[1:]:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
