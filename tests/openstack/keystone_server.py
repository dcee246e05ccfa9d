"""A real keystone for one test run: set up in an empty directory, served on loopback, gone afterwards.

    python -I keystone_server.py DIRECTORY [--token-provider jws]

Prints one line of JSON once keystone answers, and ends when stdin is closed or on SIGTERM. Whatever keystone
and gunicorn log goes to stderr.

With JWS, {"rotate": FILE} on stdin makes keystone sign with a new key from then on, whose public key is FILE in the
directory `public_keys`; the answer is a line of JSON.

Everything happens in one program, since importing keystone takes longer than all the rest: a first child sets
up the database and exits, then this process becomes gunicorn's arbiter, with the imports already done. The
accounts are made through keystone's own managers, as keystone-manage makes the first one.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import pathlib
import secrets
import signal
import socket
import sys
import threading
import uuid

from gunicorn.app.base import BaseApplication
from keystone.cmd.bootstrap import Bootstrapper
from keystone.common import fernet_utils
from keystone.common import jwt_utils
from keystone.common import provider_api
from keystone.common.sql import upgrades
import keystone.conf
import keystone.server
from keystone.server import wsgi

# The worst password hash bcrypt can do: a login should not cost a test 200 ms. Without the cache of its own
# process, keystone takes most of a second to validate a token.
KEYSTONE_CONF = """\
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{directory}/keystone.db
sqlite_synchronous = false
[cache]
enabled = true
backend = dogpile.cache.memory
[identity]
password_hash_rounds = 4
max_password_length = 72
[token]
provider = {token_provider}
[fernet_tokens]
key_repository = {directory}/fernet-keys
[fernet_receipts]
key_repository = {directory}/fernet-keys
[jwt_tokens]
jws_public_key_repository = {directory}/jws-public-keys
jws_private_key_repository = {directory}/jws-private-keys
"""

PROJECTS = ["service", "demo"]

# Who has which role where. `vendordock` is the gateway itself, the others are callers that it may meet.
GRANTS = {
    "nova": [("service", "service")],
    "vendordock": [("service", "service")],
    "plain": [("member", "service"), ("member", "demo")],
    "adminother": [("admin", "demo")],
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--token-provider", choices=["fernet", "jws"], default="fernet")
    arguments = parser.parse_args()
    # Keystone reads the command line too, and would take ours for its own.
    del sys.argv[1:]

    directory = arguments.directory.resolve()
    config_file = directory / "keystone.conf"
    config_file.write_text(
        KEYSTONE_CONF.format(directory=directory, token_provider=arguments.token_provider)
    )
    # Stdout is for our one line; what anybody else prints there goes with the log.
    announcement = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # So that multiprocessing takes the child along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    # Bound before anything else, so that the port is known for the catalog and nobody can take it. Whoever
    # connects too early waits in the listening queue.
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    address = "{}:{}".format(*listener.getsockname())
    auth_url = f"http://{address}/v3"
    project_ids = {name: uuid.uuid4().hex for name in PROJECTS}
    passwords = {name: secrets.token_urlsafe(16) for name in ["admin", *GRANTS]}

    setup = multiprocessing.get_context("fork").Process(
        target=set_up, args=(config_file, auth_url, passwords, project_ids), daemon=True
    )
    setup.start()
    setup.join()
    if setup.exitcode != 0:
        sys.exit("setting up keystone failed")

    found = {
        "auth_url": auth_url,
        "passwords": passwords,
        "project_ids": project_ids,
        "public_keys": str(directory / "jws-public-keys"),
    }
    Server(config_file, listener, address, announcement, found).run()


def set_up(config_file, auth_url, passwords, project_ids):
    keystone.server.configure(config_files=[str(config_file)])
    make_keys()
    upgrades.offline_sync_database_to_version()

    bootstrapper = Bootstrapper()
    bootstrapper.admin_username = "admin"
    bootstrapper.admin_password = passwords["admin"]
    bootstrapper.project_name = "admin"
    bootstrapper.admin_role_name = "admin"
    bootstrapper.service_name = "keystone"
    bootstrapper.region_id = "RegionOne"
    bootstrapper.public_url = auth_url
    bootstrapper.immutable_roles = True
    bootstrapper.bootstrap()

    apis = provider_api.ProviderAPIs
    domain_id = bootstrapper.default_domain_id
    for name, project_id in project_ids.items():
        project = {"id": project_id, "name": name, "domain_id": domain_id, "enabled": True}
        apis.resource_api.create_project(project_id, project)
    role_ids = {role["name"]: role["id"] for role in apis.role_api.list_roles()}
    for name, grants in GRANTS.items():
        user = {"name": name, "password": passwords[name], "domain_id": domain_id, "enabled": True}
        user_id = apis.identity_api.create_user(user)["id"]
        for role, project in grants:
            apis.assignment_api.create_grant(
                role_ids[role], user_id=user_id, project_id=project_ids[project]
            )


def make_keys():
    conf = keystone.conf.CONF
    # Receipts, which keystone always has, are sealed with these also where tokens are signed.
    keys = fernet_utils.FernetUtils(
        conf.fernet_tokens.key_repository, conf.fernet_tokens.max_active_keys, "fernet_tokens"
    )
    keys.create_key_directory()
    keys.initialize_key_repository()
    if conf.token.provider == "jws":
        private = pathlib.Path(conf.jwt_tokens.jws_private_key_repository)
        public = pathlib.Path(conf.jwt_tokens.jws_public_key_repository)
        private.mkdir()
        public.mkdir()
        jwt_utils.create_jws_keypair(private / "private.pem", public / "public.pem")


def rotate(file):
    """As an operator does it: make the pair elsewhere, publish the one key, and only then sign with the other.

    Keystone reads both directories anew for each token, and all files in them, so that each key comes whole.
    """
    conf = keystone.conf.CONF.jwt_tokens
    private = pathlib.Path(conf.jws_private_key_repository)
    public = pathlib.Path(conf.jws_public_key_repository)
    new_private, new_public = private.parent / "private.new", public.parent / "public.new"
    jwt_utils.create_jws_keypair(new_private, new_public)
    new_public.rename(public / file)
    new_private.rename(private / "private.pem")


class Server(BaseApplication):
    """Keystone under gunicorn, with one worker: tokens are cached, and revoked, in its memory."""

    def __init__(self, config_file, listener, address, announcement, found):
        self.config_file = config_file
        self.listener = listener
        self.address = address
        self.announcement = announcement
        self.found = found
        super().__init__()

    def load_config(self):
        self.cfg.set("bind", "fd://{}".format(self.listener.fileno()))
        self.cfg.set("worker_class", "gthread")
        # Each log-in writes when the user was last active, after it has read: of two at once, sqlite refuses one.
        self.cfg.set("threads", 1)
        # No test should turn on which side closes an idle connection first.
        self.cfg.set("keepalive", 60)
        self.cfg.set("timeout", 0)
        self.cfg.set("graceful_timeout", 2)
        self.cfg.set("control_socket_disable", True)
        self.cfg.set("accesslog", "-")
        self.cfg.set("post_worker_init", self.attend)

    def load(self):
        """Called in the worker: a sqlite connection must not be carried across a fork."""
        os.environ["OS_KEYSTONE_CONFIG_FILES"] = str(self.config_file)
        return wsgi.initialize_public_application()

    def attend(self, worker):
        """The worker is the one to watch stdin: the arbiter forks, and so had better have no threads."""

        def announce_and_wait():
            try:
                connection = http.client.HTTPConnection(self.address)
                connection.request("GET", "/v3")
                if connection.getresponse().status != 200:
                    return
                connection.close()
                print(json.dumps(self.found), file=self.announcement, flush=True)
                for line in sys.stdin:
                    rotate(json.loads(line)["rotate"])
                    print("{}", file=self.announcement, flush=True)
            finally:
                # At once: nobody is left to wait for an answer.
                os.kill(worker.ppid, signal.SIGQUIT)
                os._exit(0)

        threading.Thread(target=announce_and_wait, daemon=True).start()


if __name__ == "__main__":
    main()
