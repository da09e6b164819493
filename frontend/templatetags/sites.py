"""How pages write the state of a link."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from frontend.templatetags.portal import icon
from mecm.sites.models import SiteLink

register = template.Library()

#: state -> (look, icon)
LOOKS = {
    SiteLink.State.UP: ("ok", "circle-check"),
    SiteLink.State.DEGRADED: ("warn", "alert-triangle"),
    SiteLink.State.DOWN: ("bad", "circle-x"),
}


@register.simple_tag
def link_state(link: SiteLink) -> SafeString:
    """Write the state of a link as a word with a mark and a colour."""
    look, mark = LOOKS.get(SiteLink.State(link.state), ("quiet", "circle-dashed"))
    return format_html('<span class="state state-{}">{}{}</span>', look, icon(mark), link.get_state_display())
