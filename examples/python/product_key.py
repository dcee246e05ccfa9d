"""The decisions: which product an instance is to have a key for, and what the licence server's answers mean.

Nothing in here knows the gateway, so that it can be tested by any Python: see test_product_key.py.
"""

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

# An answer has one object. This leaves room for whatever else a server may tell.
MOST_BRACKETS = 100

DAY_MS = 24 * 60 * 60 * 1000

CONFIG_SCHEMA = {
    "type": "object",
    "properties": {
        "server": {"type": "string", "description": "The licence server's URL, without a slash at its end."},
        "credential": {"type": "string", "minLength": 1},
        "property": {"type": "string", "minLength": 1},
        "products": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[a-z0-9][a-z0-9.-]{0,62}$"},
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "minLength": 1},
                    "projects": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                },
                "required": ["sku"],
                "additionalProperties": False,
            },
        },
        "keys_per_day": {"type": "integer", "minimum": 1},
    },
    "required": ["server", "products"],
    "additionalProperties": False,
}

RESPONSE_SCHEMA = {
    "type": "object",
    "properties": {
        "product": {"type": "string"},
        "key": {"type": "string"},
        "expires": {"type": "string"},
    },
}


class Refused(Exception):
    """There is no key. `kind` is a case of the WIT's `error`, in Python's spelling, and `detail` what it holds."""

    def __init__(self, kind, detail):
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True)
class Settings:
    """The target's `config` table."""

    server: str
    products: dict
    credential: str = "licences"
    property: str = "licence_product"
    keys_per_day: int | None = None

    @classmethod
    def of(cls, config):
        return cls(**json.loads(config))


@dataclass(frozen=True)
class Order:
    """What is to be asked of the licence server."""

    product: str
    sku: str
    instance_id: str
    project_id: str
    hostname: str | None

    @property
    def state_key(self):
        return f"key/{self.instance_id}/{self.product}"

    @property
    def idempotency_key(self):
        """Two runs for one instance may ask at the same time, and must get the same key."""
        return f"{self.instance_id}/{self.product}"

    def body(self):
        order = {"sku": self.sku, "client": self.instance_id, "hostname": self.hostname}
        return json.dumps(order).encode()


def faults(settings):
    """What the schema cannot say: pairs of a JSON Pointer and a message."""
    found = []
    try:
        url = urlsplit(settings.server)
        bare = not (url.query or url.fragment or url.username or url.password)
        good = url.scheme in ("https", "http") and bool(url.hostname) and bare and not url.path.endswith("/")
    except ValueError:
        good = False
    if not good:
        found.append(("/server", "is to be https://HOST or https://HOST/PATH, without a slash at its end"))
    return found


def order(settings, instance):
    """What this instance is to have, or None. Its properties are the tenant's: input from a stranger."""
    product = dict(instance.metadata).get(settings.property)
    if product is None:
        return None
    terms = settings.products.get(product)
    if terms is None:
        known = ", ".join(sorted(settings.products))
        pointer = "/metadata/" + settings.property.replace("~", "~0").replace("/", "~1")
        raise Refused("invalid_request", [(pointer, f"there is no such product; there are {known}")])
    projects = terms.get("projects")
    if projects is not None and instance.project_id not in projects:
        raise Refused("forbidden", f"this project may have no key for {product}")
    return Order(product, terms["sku"], instance.id, instance.project_id, instance.hostname)


def counter(now_ms, project_id):
    """The state's key that counts a project's new keys of today, and how long it is of use."""
    return f"day/{now_ms // DAY_MS}/{project_id}", left_of_day_ms(now_ms)


def left_of_day_ms(now_ms):
    return DAY_MS - now_ms % DAY_MS


def answer(order, status, retry_after, body):
    """What the guest is told, by what the licence server answered."""
    if status in (200, 201):
        return _key(order, status, body)
    if status in (401, 403):
        raise Refused("misconfigured", [("/credential", f"the licence server does not accept it: {status}")])
    if status == 404:
        pointer = f"/products/{order.product}/sku"
        raise Refused("misconfigured", [(pointer, "the licence server does not know it")])
    if status == 409:
        raise Refused("unavailable", None)
    if status in (429, 503):
        seconds = int(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
        raise Refused("unavailable", None if seconds is None else min(seconds, 86_400) * 1000)
    raise Refused("upstream", f"the licence server answered {status}")


def _key(order, status, body):
    allocation = None
    # Python reads nested JSON by recursion, and the sandbox's stack ends before Python would say so: a crash of ours, in place
    # of a fault of the server's.
    if body.count(b"[") + body.count(b"{") <= MOST_BRACKETS:
        try:
            allocation = json.loads(body)
        except ValueError:
            pass
    # The answer's text is not repeated: it may hold a key.
    if not isinstance(allocation, dict) or not isinstance(allocation.get("key"), str):
        raise Refused("upstream", f"the licence server answered {status} without a key")
    told = {"product": order.product, "key": allocation["key"]}
    if isinstance(allocation.get("expires"), str):
        told["expires"] = allocation["expires"]
    return told
