"""The commands by which anybody verifies a signature without this store: OpenSSL, Python and coreutils, nothing of ours."""

from __future__ import annotations

import shlex
from typing import Any

from appstore.packages.models import Package

_INSIDE = r"""python3 -m zipfile -e {file} content
sed '/-----BEGIN CMS-----/,$d' content/*.mf > signed.txt
sed -n '/-----BEGIN CMS-----/,$p' content/*.mf > block.pem
openssl cms -verify -binary -inform PEM -in block.pem -content signed.txt \
  -CAfile anchors.pem -purpose any -out /dev/null
awk '{{ gsub("\r", "") }} /^Source:/ {{ name = substr($0, 9) }} /^Hash:/ {{ print $2 "  content/" name }}' signed.txt > sums.txt
sha256sum --check --quiet sums.txt"""
_AROUND = """python3 -m zipfile -e {file} around
grep -q BEGIN around/*.cms && form=PEM || form=DER
openssl cms -verify -binary -inform $form -in around/*.cms -content around/*.csar \\
  -CAfile anchors.pem -purpose any -out /dev/null"""


def commands(package: Package) -> str:
    """Return the shell commands; empty for a signature that OpenSSL alone cannot judge (EdgeGallery's form), or none.

    They want the package under its file name and the trust list as `anchors.pem`, and end with an error when the signature
    does not hold, its path does not end at an anchor, or (option 1, digests in SHA-256) a listed file was changed.
    """
    signature: dict[str, Any] = package.signature or {}
    if signature.get("state") not in ("valid", "invalid"):
        return ""
    form = {"manifest": _INSIDE, "package": _AROUND}.get(str(signature.get("covers", "")))
    return form.format(file=shlex.quote(f"./{package.filename or 'package.csar'}")) if form else ""
