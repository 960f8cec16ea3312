"""How to speak to the brokers: the same settings for Faust and for aiokafka's own clients."""

from __future__ import annotations

import ssl
from typing import Any

import faust
from aiokafka.helpers import create_ssl_context

from streams.settings import Settings


def credentials(settings: Settings) -> Any:
    """Faust's credentials; None for PLAINTEXT."""
    protocol = settings.security_protocol
    if protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=settings.sasl_username,
            password=settings.sasl_password,
            mechanism=settings.sasl_mechanism,
            ssl_context=_ssl_context(settings),
        )
    if protocol == "SSL":
        return faust.SSLCredentials(context=_ssl_context(settings))
    return None


def client_options(settings: Settings) -> dict[str, Any]:
    """Where the brokers are and how to log in, for aiokafka's constructors."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "security_protocol": settings.security_protocol,
        "ssl_context": _ssl_context(settings),
    }
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.sasl_password
    return options


def _ssl_context(settings: Settings) -> ssl.SSLContext | None:
    if not settings.security_protocol.endswith("SSL"):
        return None
    context: ssl.SSLContext = create_ssl_context(cafile=settings.ssl_cafile or None)
    return context
