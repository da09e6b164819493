"""Where the pages are."""

from django.urls import path

from frontend.account import audit, profile, session
from frontend.account.urls import urlpatterns as account_pages
from frontend.catalog.urls import urlpatterns as catalog_pages
from frontend.certification.urls import urlpatterns as certification_pages
from frontend.contents.urls import urlpatterns as contents_pages
from frontend.developer.urls import urlpatterns as developer_pages
from frontend.device.urls import urlpatterns as device_pages
from frontend.federation.urls import urlpatterns as federation_pages
from frontend.fleet.urls import urlpatterns as fleet_pages
from frontend.language import choose_language
from frontend.operator import deploy, deployments, node_health, nodes, operations
from frontend.reference.urls import urlpatterns as reference_pages
from frontend.releases.urls import urlpatterns as releases_pages
from frontend.rollouts.urls import urlpatterns as rollouts_pages
from frontend.search.urls import urlpatterns as search_pages
from frontend.sites.urls import urlpatterns as sites_pages
from frontend.steering.urls import urlpatterns as steering_pages
from frontend.store import catalogue, packages, upload, where
from frontend.trust.urls import urlpatterns as trust_pages
from frontend.values import views as values

app_name = "frontend"

urlpatterns = [
    path("", catalogue.catalogue, name="catalogue"),
    path("sign-in", session.SignIn.as_view(), name="sign-in"),
    path("sign-out", session.sign_out, name="sign-out"),
    path("organisation", session.choose_organisation, name="choose-organisation"),
    path("profile", profile.profile, name="profile"),
    path("profile/tokens/<uuid:pk>/revoke", profile.revoke_token, name="revoke-token"),
    path("packages", catalogue.my_packages, name="packages"),
    path("packages/upload", upload.upload, name="upload"),
    path("uploads/<uuid:pk>/cancel", upload.cancel_upload, name="cancel-upload"),
    path("packages/<uuid:pk>", packages.package_page, name="package"),
    path("packages/<uuid:pk>/live", packages.package_live, name="package-live"),
    path("packages/<uuid:pk>/findings.json", packages.findings_file, name="findings-file"),
    path("packages/<uuid:pk>/check", packages.check, name="check"),
    path("packages/<uuid:pk>/publish", packages.publish, name="publish"),
    path("packages/<uuid:pk>/discard", packages.discard, name="discard"),
    path("packages/<uuid:pk>/where", where.where_page, name="package-where"),
    path("packages/<uuid:pk>/deploy", deploy.deploy, name="deploy"),
    path("packages/<uuid:pk>/deploy/plan", deploy.deploy_plan, name="deploy-plan"),
    path("packages/<uuid:pk>/values", values.package_values, name="package-values"),
    path("nodes", nodes.nodes_page, name="nodes"),
    path("nodes/new", nodes.new_node, name="new-node"),
    path("nodes/<uuid:pk>", nodes.node_page, name="node"),
    path("nodes/<uuid:pk>/live", nodes.node_live, name="node-live"),
    path("nodes/<uuid:pk>/health", node_health.health, name="node-health"),
    path("nodes/<uuid:pk>/health/file", node_health.download_health, name="download-node-health"),
    path("nodes/<uuid:pk>/change", nodes.change_node, name="change-node"),
    path("nodes/<uuid:pk>/join", nodes.join_node, name="join-node"),
    path("nodes/<uuid:pk>/revoke", nodes.revoke_node, name="revoke-node"),
    path("nodes/<uuid:pk>/kubeconfig", nodes.import_kubeconfig, name="import-kubeconfig"),
    path("nodes/<uuid:pk>/mep", nodes.set_mep, name="set-mep"),
    path("nodes/<uuid:pk>/probe", nodes.probe_node, name="probe-node"),
    path("nodes/<uuid:pk>/sandbox", nodes.set_sandbox, name="set-sandbox"),
    path("nodes/<uuid:pk>/orphans/<str:namespace>/<str:name>/remove", nodes.remove_orphan, name="remove-orphan"),
    path("nodes/<uuid:pk>/remove", nodes.remove_node, name="remove-node"),
    path("deployments", deployments.deployments_page, name="deployments"),
    path("deployments/<uuid:pk>", deployments.deployment_page, name="deployment"),
    path("deployments/<uuid:pk>/live", deployments.deployment_live, name="deployment-live"),
    path("deployments/<uuid:pk>/tail", deployments.deployment_tail, name="deployment-tail"),
    path("deployments/<uuid:pk>/upgrade", deploy.upgrade, name="upgrade"),
    path("deployments/<uuid:pk>/upgrade/plan", deploy.upgrade_plan, name="upgrade-plan"),
    path("deployments/<uuid:pk>/upgrade/values", deploy.upgrade_values, name="upgrade-values"),
    path("deployments/<uuid:pk>/rollback/<int:generation>", deployments.rollback, name="rollback"),
    path("deployments/<uuid:pk>/compare", deployments.compare, name="compare-revisions"),
    path("deployments/<uuid:pk>/remove", deployments.remove, name="remove-deployment"),
    path("deployments/<uuid:pk>/abandon", deployments.abandon, name="abandon-deployment"),
    path("operations", operations.operations_page, name="operations"),
    path("operations/<uuid:pk>/cancel", operations.cancel, name="cancel-operation"),
    path("operations/<uuid:pk>/retry", operations.retry, name="retry-operation"),
    path("audit", audit.audit_page, name="audit"),
    path("language", choose_language, name="choose-language"),
    *search_pages,
    *device_pages,
    *developer_pages,
    *account_pages,
    *reference_pages,
    *catalog_pages,
    *contents_pages,
    *trust_pages,
    *certification_pages,
    *releases_pages,
    *rollouts_pages,
    *federation_pages,
    *steering_pages,
    *fleet_pages,
    *sites_pages,
]
