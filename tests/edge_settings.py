"""The edge's settings for tests: everything that is written goes to a folder that ends with the run."""

import atexit
import os
import shutil
import tempfile

# Before the settings are read: they make folders and keys where VAR points to.
_scratch = tempfile.mkdtemp(prefix="breakwater-edge-tests-")
atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
os.environ["MEP_VAR"] = _scratch

from mep.settings import *  # noqa: E402, F403
from mep.settings import DATABASES  # noqa: E402

OPERATION_BELL = ""
# The console, which is tested in this process, speaks languages; Django looks at this once for all.
USE_I18N = True
LANGUAGE_CODE = "en"
OPERATION_LEASE = 3600
DATABASES["default"].setdefault("TEST", {})["NAME"] = os.path.join(_scratch, "test.sqlite3")  # noqa: PTH118
# No test pulls the plug of this process; those that kill a real edge start one with its own settings.
_options = DATABASES["default"]["OPTIONS"]
_options["init_command"] = _options["init_command"].replace("synchronous=FULL", "synchronous=OFF")
