"""What the tests share: servers, services, clients and models."""
