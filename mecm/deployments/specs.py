"""The wish for one application as its node gets it: the spec of a desired object of kind `app`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from appstore.packages.models import Package
    from mecm.deployments.models import Deployment

_BLOBS = "/api/v1/edge/blobs/"
#: What an application may take to say goodbye, in seconds, whatever its package asks for.
_LONGEST_GRACE = 600


def of(deployment: Deployment) -> dict[str, Any]:
    """Return the spec of the deployment's present wish; it names files by digest and holds no credentials."""
    package = deployment.package
    described: dict[str, Any] = package.descriptor or {}
    return {
        "deployment": str(deployment.pk),
        "appInstanceId": str(deployment.app_instance_id),
        "name": deployment.name,
        "namespace": deployment.namespace,
        # By these two the node knows what a recall is about; the digest has a name of its own because what is
        # called `sha256` in a spec is fetched.
        "package": str(package.pk),
        "packageSha256": package.sha256,
        "appDId": described.get("appDId") or package.app_d_id,
        "appName": described.get("appName") or package.name,
        "appProvider": described.get("appProvider") or package.provider,
        "appSoftVersion": described.get("appSoftVersion") or package.version,
        "appDVersion": described.get("appDVersion") or "",
        "chart": chart(package),
        "images": images(package),
        "values": deployment.values,
        "appServiceRequired": described.get("appServiceRequired") or [],
        "appServiceOptional": described.get("appServiceOptional") or [],
        "appServiceProduced": described.get("appServiceProduced") or [],
        "appTrafficRule": described.get("appTrafficRule") or [],
        "appDNSRule": described.get("appDNSRule") or [],
        "gracefulTerminationTimeout": _grace(described.get("gracefulTerminationTimeout")),
    }


def chart(package: Package) -> dict[str, Any]:
    """Return where the package's chart is fetched, and how to know that it is the right one."""
    from appstore.packages import blobs  # the store's folder is a setting; pure users of this module do not need it

    path = blobs.path_of(package.chart_sha256)
    size = path.stat().st_size if path.is_file() else 0
    return {"url": _BLOBS + package.chart_sha256, "sha256": package.chart_sha256, "size": size}


def images(package: Package) -> list[dict[str, Any]]:
    """Return the images that the package carries."""
    return [
        {
            "name": image.get("name", ""),
            "url": _BLOBS + image["sha256"],
            "sha256": image["sha256"],
            "size": image.get("size", 0),
        }
        for image in package.images or []
        if image.get("sha256")
    ]


def _grace(wanted: Any) -> float:
    usable = isinstance(wanted, int | float) and not isinstance(wanted, bool) and wanted >= 0
    return min(float(wanted), _LONGEST_GRACE) if usable else 10.0
