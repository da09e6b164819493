#!/usr/bin/env python
"""Every command: the centre by default, an edge node with `--settings mep.settings`."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mecm.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
