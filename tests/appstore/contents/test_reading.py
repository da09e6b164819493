"""What is found inside a package, and what is said when it cannot be read."""

from __future__ import annotations
from typing import Any
from tests.appstore.contents import inside


def test_smoke(read: Any, api: Any) -> None:
    c = read(inside.csar(image_file=inside.image(inside.DEBIAN, inside.PYTHON)))
    f = c.read()
    import pprint

    pprint.pprint(f)
    r = api.get(f"/api/v1/packages/{c.package_id}/contents")
    print(r.json())
    print(api.get(f"/api/v1/packages/{c.package_id}/sbom").status_code)
    from appstore.oci.models import Artifact

    print(list(Artifact.objects.values()))
    assert 0
