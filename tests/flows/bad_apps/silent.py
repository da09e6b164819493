"""The producer, but it registers nothing of what its descriptor declares."""

import mp1


class Silent(mp1.Membership):
    """Joins the platform and offers nothing."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **{**options, "services": []})


mp1.Membership = Silent
