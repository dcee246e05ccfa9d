"""A provider that tries what its interpreter offers: see tests/languages.rs.

Without the metadata key `how` it does the work of tests/plugins/bench.
"""

import json
import os
import socket
import sys

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.plugin import Manifest
from wit_world.imports import config, types


class Plugin(exports.Plugin):
    def describe(self):
        return Manifest(
            name="python-probe",
            version="0.1.0",
            description="Tries what its interpreter offers",
            config_schema='{"type": "object", "additionalProperties": false}',
            response_schema=None,
            wants_credentials=[],
            wants_urls=[],
            cache=types.CacheHint(types.CacheScope.NONE, ttl_ms=0, stale_if_error_ms=0),
            idempotent=True,
            extra=None,
        )

    def validate(self):
        return []


class Provider(exports.Provider):
    def provide(self, request):
        metadata = dict(request.instance.metadata)
        how = metadata.get("how", "work")
        if how.startswith("error:"):
            raise Err(errors()[how.removeprefix("error:")])
        answer = globals()[how](request)
        return types.Response(json.dumps(answer), parts=[], secret=False, cache=None, extra=None)


def work(request):
    settings = json.loads(config.all())
    sent = json.loads(request.raw)
    return {
        "fqdn": sent["hostname"] + "." + settings.get("domain", "cloud.example.test"),
        "instance": sent["instance-id"],
        "project": sent["project-id"],
        "labels": {key: value for key, value in sent["metadata"].items() if key.startswith("label.")},
        "payload": "x" * (settings.get("body_bytes", 1024) - 180),
    }


def fail(request):
    """What a mistake looks like: an exception that nobody expects, some calls deep."""
    return looked_up({"colour": "blue"}, "color")


def looked_up(table, key):
    return table[key]


def leave(request):
    sys.exit(3)


def system(request):
    """All that a program usually finds around it."""
    return {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "root": attempt(lambda: os.listdir("/")),
        "file": attempt(lambda: open("/etc/hostname").read()),
        "new file": attempt(lambda: open("/tmp/new", "w").write("x")),
        "name": attempt(lambda: socket.getaddrinfo("localhost", 80)),
        "socket": attempt(lambda: socket.create_connection(("127.0.0.1", 80), timeout=1)),
        "input": attempt(lambda: sys.stdin.read()),
    }


def attempt(act):
    """What came of it, or the class of what it raised."""
    try:
        return repr(act())
    except Exception as error:
        return type(error).__name__


def errors():
    fault = types.FieldError("/metadata/how", "is an error")
    return {
        "invalid-request": types.Error_InvalidRequest([fault]),
        "forbidden": types.Error_Forbidden("no"),
        "not-found": types.Error_NotFound("nothing"),
        "conflict": types.Error_Conflict("changed"),
        "throttled": types.Error_Throttled(2_000),
        "misconfigured": types.Error_Misconfigured([fault]),
        "internal": types.Error_Internal("broken"),
        "upstream": types.Error_Upstream("down"),
        "unavailable": types.Error_Unavailable(3_000),
        "upstream-timeout": types.Error_UpstreamTimeout("slow"),
    }
