"""What tests of engines share."""

from tests.dockerd import docker_socket

__all__ = ["docker_socket"]
