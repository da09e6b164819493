"""One machine, one command: `manage.py up` starts the centre, a worker, an edge node and, if need be, a container engine."""
