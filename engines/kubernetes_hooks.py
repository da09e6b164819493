"""The hooks of a chart, rendered in a process of its own, because charts are written by strangers.

Helm's rendering without cluster leaves hooks out, so here every template is rendered and those objects are kept that
say they are hooks. As in `engines.helm.helper`, limits end only the process that renders. Run as a module this file is
that process: one JSON object on standard input, one on standard output. It lies beside the package of the engine so
that starting it loads no client of Kubernetes.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import Invalid
from engines.contract import Manifest
from engines.helm import chartfile
from engines.helm.errors import translate
from engines.helm.helper import ADDRESS_SPACE, LARGEST_ANSWER, SECONDS
from engines.helm.manifests import manifests
from engines.helm.port import check_names, plain
from engines.planning import mapping

#: Marks an object that Helm runs at a moment of the release's life (Helm documentation, "Chart Hooks").
HOOK = "helm.sh/hook"
_ROOT = Path(__file__).resolve().parents[1]


def hooks(chart: Path, values: Mapping[str, Any], *, name: str, namespace: str) -> tuple[Manifest, ...]:
    """Return the objects that Helm would run as hooks; no cluster is asked."""
    check_names(name, namespace)
    chartfile.check(chart)
    request = {"chart": str(chart.resolve()), "values": plain(values), "name": name, "namespace": namespace}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "engines.kubernetes_hooks"],
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(_ROOT), "KUBECONFIG": os.devnull},
            cwd=_ROOT,
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS + 10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_much() from None
    if done.returncode:
        raise _too_much()
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise translate(*answer["error"])
    found = [each for text in answer["texts"] for each in manifests(text)]
    return tuple(each for each in found if HOOK in mapping(mapping(each.body.get("metadata")).get("annotations")))


def _too_much() -> Invalid:
    return Invalid(f"Helm cannot render the chart within {SECONDS} s and {ADDRESS_SPACE >> 30} GiB")


def _render(request: Mapping[str, Any]) -> dict[str, Any]:
    import helm_python as sdk  # only here: it must not be loaded by a process that may fork

    try:
        with sdk.Chart.load(request["chart"]) as chart:
            rendered = chart.render(request["values"], name=request["name"], namespace=request["namespace"])
    except sdk.HelmError as problem:
        return {"error": [type(problem).__name__, str(getattr(problem, "detail", problem))[:4000]]}
    texts = [text for path, text in rendered.items() if HOOK in text and not path.endswith("NOTES.txt")]
    if sum(map(len, texts)) > LARGEST_ANSWER:
        return {"error": ["HelmRenderError", f"it renders to more than {LARGEST_ANSWER >> 20} MiB"]}
    return {"texts": texts}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)
    sys.stdout.write(json.dumps(_render(json.load(sys.stdin))))
