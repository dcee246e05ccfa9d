"""Asks for vendordata as nova does, with nova's own code, HTTP session and keystone plugin.

    python -I nova_client.py DIRECTORY

Reads one JSON object a line from stdin, answers each with one line on stdout, and ends with stdin. The
nova.conf that it makes is in DIRECTORY.

    {"configure": {"targets": ["join@http://127.0.0.1:8080/v1/join"],
                   "auth": {"auth_type": "password", "auth_url": ..., ...} or null,
                   "connect_timeout": 5, "read_timeout": 5, "failure_fatal": false,
                   "ssl_certfile": null, "certfile": null, "keyfile": null}}
    {}

    {"get": {"uuid": ..., "project_id": ..., "image_ref": ..., "user_data": ..., "hostname": ...,
             "metadata": {...}, "boot_roles": ...}, "view": "vendordata", "parallel": 1}
    {"results": [...], "exceptions": [{"class": ..., "message": ...}], "log": [...]}

In the view "vendordata", a result is what nova.api.metadata.vendordata_dynamic.DynamicVendorData returns. In
"metadata", it is the vendor_data2.json that nova's metadata service gives the guest, and in "config-drive", an
object of all such files by their paths on the drive.
"""

import concurrent.futures
import json
import logging
import os
import pathlib
import sys

from keystoneauth1 import loading
from nova.api.metadata import base
from nova.api.metadata import vendordata_dynamic
import nova.conf
from nova import objects
from nova import service_auth

CONF = nova.conf.CONF

objects.register_all()

VENDOR_DATA2 = "vendor_data2.json"

# What else InstanceMetadata looks for in an instance, for the files we do not ask for.
NOT_IN_VENDORDATA = {
    "availability_zone": None,
    "device_metadata": None,
    "display_name": "",
    "ec2_ids": objects.EC2Ids(ami_id="", instance_id="", kernel_id=None, ramdisk_id=None),
    "flavor": objects.Flavor(name=""),
    "key_name": None,
    "keypairs": objects.KeyPairList(objects=[]),
    "launch_index": 0,
    "numa_topology": None,
    "reservation_id": "",
}


def main():
    config_file = pathlib.Path(sys.argv[1]) / "nova.conf"
    # Stdout is for our answers; what anybody else prints there goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    # The metadata service has these from the database and from neutron. Neither is in vendordata.
    base._format_instance_mapping = lambda instance: {}
    base.security_group_api.get_instance_security_groups = lambda context, instance: []
    log = Log()
    logging.getLogger().addHandler(log)
    logging.getLogger().setLevel(logging.INFO)

    for line in sys.stdin:
        question = json.loads(line)
        if "configure" in question:
            configure(config_file, **question["configure"])
            answer = {}
        else:
            log.lines.clear()
            answer = get(question["get"], question["view"], question["parallel"])
            answer["log"] = log.lines
        print(json.dumps(answer), file=answers, flush=True)


class Log(logging.Handler):
    """Nova's log, as lines without their time."""

    def __init__(self):
        super().__init__()
        self.lines = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))

    def emit(self, record):
        self.lines.append(self.format(record))


def configure(config_file, targets, auth, certfile, keyfile, **options):
    """Through a real nova.conf: keystoneauth registers its options only once it reads `auth_type`."""
    api = {"vendordata_providers": "StaticJSON,DynamicJSON"}
    api["vendordata_dynamic_targets"] = ",".join(targets)
    for name, value in options.items():
        api[f"vendordata_dynamic_{name}"] = value
    vendordata_dynamic_auth = {"certfile": certfile, "keyfile": keyfile}
    if auth is not None:
        vendordata_dynamic_auth |= auth
    config_file.write_text(
        section("api", api) + section("vendordata_dynamic_auth", vendordata_dynamic_auth)
    )
    # Nova keeps all of this as long as its process: the options that the plugin registered, one of which is
    # required from then on, the plugin with its token, and the session with its connections.
    CONF.reset()
    for plugin in ["password", "admin_token"]:
        CONF.unregister_opts(
            loading.get_auth_plugin_conf_options(plugin), "vendordata_dynamic_auth"
        )
    service_auth.reset_globals()
    CONF([], project="nova", default_config_files=[str(config_file)], default_config_dirs=[])


def section(name, options):
    lines = [f"[{name}]"]
    for key, value in options.items():
        if value is not None:
            # oslo.config would take a dollar sign for the start of another option's name.
            lines.append("{} = {}".format(key, str(value).replace("$", "$$")))
    return "\n".join(lines) + "\n"


def get(fields, view, parallel):
    instance = make_instance(**fields)
    with concurrent.futures.ThreadPoolExecutor(parallel) as threads:
        calls = [threads.submit(VIEWS[view], instance) for _ in range(parallel)]
    exceptions = [call.exception() for call in calls if call.exception()]
    return {
        "results": [call.result() for call in calls if not call.exception()],
        "exceptions": [
            {"class": "{0.__module__}.{0.__qualname__}".format(type(exception)), "message": str(exception)}
            for exception in exceptions
        ],
    }


def make_instance(boot_roles, **fields):
    """An instance as nova's metadata service loads it, without the database."""
    system_metadata = {} if boot_roles is None else {"boot_roles": boot_roles}
    return objects.Instance(system_metadata=system_metadata, **fields, **NOT_IN_VENDORDATA)


def from_vendordata(instance):
    return vendordata_dynamic.DynamicVendorData(instance).get()


def from_metadata(instance):
    metadata = base.InstanceMetadata(instance, network_info=[])
    return json.loads(metadata.lookup(f"/openstack/latest/{VENDOR_DATA2}"))


def from_config_drive(instance):
    metadata = base.InstanceMetadata(instance, network_info=[])
    return {
        path: json.loads(content)
        for path, content in metadata.metadata_for_config_drive()
        if path.endswith(VENDOR_DATA2)
    }


VIEWS = {
    "vendordata": from_vendordata,
    "metadata": from_metadata,
    "config-drive": from_config_drive,
}


if __name__ == "__main__":
    main()
