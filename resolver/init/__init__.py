"""Looks at data and writes a config for it.

names.py    what columns are called, in several languages
columns.py  which column holds what
looking.py  which sources a path holds
writing.py  the config
"""

from __future__ import annotations

from resolver.init.looking import Found, look
from resolver.init.writing import text

__all__ = ["Found", "look", "text"]
