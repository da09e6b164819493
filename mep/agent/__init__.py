"""The link to the centre: enrolment, desired state, reports."""

#: Told to the centre at every connect.
VERSION = "0.1.0"
