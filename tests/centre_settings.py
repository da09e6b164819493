"""The centre's settings for tests: everything that is written goes to a folder that ends with the run."""

import atexit
import os
import shutil
import tempfile

# Before the settings are read: they make folders and keys where VAR points to.
_scratch = tempfile.mkdtemp(prefix="breakwater-tests-")
atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
os.environ["BREAKWATER_VAR"] = _scratch

from mecm.settings import *  # noqa: E402, F403
from mecm.settings import DATABASES, MIDDLEWARE, VAR_DIR  # noqa: E402

OPERATION_BELL = ""
COUNT_EVERY = 0  # no thread writes counts behind a test's back
OPERATION_LEASE = 3600  # no thread renews leases behind a test's back
MIDDLEWARE = [
    "tests.middleware.StaticFiles" if each == "whitenoise.middleware.WhiteNoiseMiddleware" else each
    for each in MIDDLEWARE
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, as in production: threads of a test see each other's rows and wait for each other's locks.
    DATABASES["default"].setdefault("TEST", {})["NAME"] = str(VAR_DIR / "test.sqlite3")
    # No test pulls the plug.
    _options = DATABASES["default"]["OPTIONS"]
    _options["init_command"] = _options["init_command"].replace("synchronous=NORMAL", "synchronous=OFF")
