"""Hands an instance a product key from the site's licence server.

This file is what the gateway calls, and what calls the gateway. The decisions are in product_key.py.

Every module is imported up here: componentize-py runs the imports once, when it builds the component, and the
sandbox has no files to import from later.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.plugin import Manifest
from wit_world.imports import clock, config, credentials, http, log, state, types

import product_key
from product_key import Refused, Settings


class Plugin(exports.Plugin):
    def describe(self):
        return Manifest(
            name="product-key",
            version="0.1.0",
            description="Hands an instance a product key from a licence server",
            config_schema=json.dumps(product_key.CONFIG_SCHEMA),
            response_schema=json.dumps(product_key.RESPONSE_SCHEMA),
            wants_credentials=["licences"],
            wants_urls=["https://licences.example.test/allocations"],
            cache=types.CacheHint(types.CacheScope.INSTANCE, ttl_ms=3_600_000, stale_if_error_ms=0),
            idempotent=True,
            extra=None,
        )

    def validate(self):
        faults = product_key.faults(Settings.of(config.all()))
        return [types.FieldError(pointer, message) for pointer, message in faults]


class Provider(exports.Provider):
    def provide(self, request):
        try:
            told = key_for(request.instance)
        except Refused as refused:
            raise Err(error(refused)) from refused
        secret = "key" in told
        return types.Response(json.dumps(told), parts=[], secret=secret, cache=None, extra=None)


def key_for(instance):
    settings = Settings.of(config.all())
    order = product_key.order(settings, instance)
    if order is None:
        return {}
    try:
        known = state.get(order.state_key)
        return new_key(settings, order) if known is None else json.loads(known.value)
    except Err as err:
        if isinstance(err.value, state.StateError_NotGranted):
            return new_key_without_state(settings, order)
        # To go on would be to ask for one key after the other, past what the site allows.
        log.emit(log.Level.ERROR, "the state cannot be used", [("error", type(err.value).__name__)])
        raise Refused("unavailable", None) from err


def new_key_without_state(settings, order):
    """Each run asks again, and only the server can know that it is the same instance."""
    if settings.keys_per_day is not None:
        raise Refused("misconfigured", [("/keys_per_day", "without state nothing can be counted")])
    log.emit(log.Level.WARN, "no state is granted: the licence server is asked on each run", [])
    return ask(settings, order)


def new_key(settings, order):
    if settings.keys_per_day is None:
        return remember(order, ask(settings, order))
    day, ttl_ms = product_key.counter(clock.now(), order.project_id)
    if state.increment(day, 1, ttl_ms) > settings.keys_per_day:
        state.increment(day, -1, ttl_ms)
        raise Refused("throttled", ttl_ms)
    try:
        told = ask(settings, order)
    except Refused:
        state.increment(day, -1, ttl_ms)
        raise
    return remember(order, told)


def remember(order, told):
    """Of two runs that asked at the same time, both answer what the first one wrote."""
    try:
        state.compare_and_set(order.state_key, 0, json.dumps(told).encode(), None)
    except Err as err:
        first = state.get(order.state_key) if isinstance(err.value, state.StateError_Conflict) else None
        if first is None:
            raise
        return json.loads(first.value)
    return told


def ask(settings, order):
    try:
        credential = credentials.open(settings.credential)
    except Err as err:
        message = "no credential of this name is granted"
        raise Refused("misconfigured", [("/credential", message)]) from err
    request = http.OutgoingRequest(
        method=http.Method.POST,
        url=settings.server + "/allocations",
        headers=[
            ("content-type", b"application/json"),
            ("accept", b"application/json"),
            ("idempotency-key", order.idempotency_key.encode()),
        ],
        body=order.body(),
        timeout_ms=None,
        max_redirects=0,
    )
    try:
        with credential:
            response = http.send_with(request, credential, http.AuthScheme_Bearer())
    except Err as err:
        raise not_sent(err.value) from err
    retry_after = next((value for name, value in response.headers if name == "retry-after"), b"")
    return product_key.answer(order, response.status, retry_after.decode("latin-1"), response.body)


def not_sent(failure):
    """Why there is no answer of the licence server's, and whose fault that is."""
    match failure:
        case http.HttpError_Timeout():
            return Refused("upstream_timeout", "the licence server is too slow")
        case http.HttpError_Denied(text):
            return Refused("misconfigured", [("/server", text)])
        case http.HttpError_Credential(text):
            return Refused("misconfigured", [("/credential", text)])
        case http.HttpError_ResponseTooLarge():
            return Refused("upstream", "the licence server's answer is too long")
        case http.HttpError_InvalidRequest() | http.HttpError_TooManyRequests():
            return Refused("internal", f"the request was not sent: {failure}")
    # No name, no connection, no TLS, no HTTP.
    return Refused("upstream", failure.value)


def error(refused):
    match refused.kind, refused.detail:
        case "invalid_request", faults:
            return types.Error_InvalidRequest([types.FieldError(*fault) for fault in faults])
        case "misconfigured", faults:
            return types.Error_Misconfigured([types.FieldError(*fault) for fault in faults])
        case "forbidden", text:
            return types.Error_Forbidden(text)
        case "throttled", wait_ms:
            return types.Error_Throttled(wait_ms)
        case "unavailable", wait_ms:
            return types.Error_Unavailable(wait_ms)
        case "upstream", text:
            return types.Error_Upstream(text)
        case "upstream_timeout", text:
            return types.Error_UpstreamTimeout(text)
    return types.Error_Internal(str(refused.detail))
