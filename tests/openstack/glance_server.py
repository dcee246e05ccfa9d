"""A real glance for one test run: set up in an empty directory, served on loopback, gone afterwards.

    python -I glance_server.py DIRECTORY --auth-url URL --username NAME --password PASSWORD

Tokens are validated at that keystone, as that user of project `service`. Prints one line of JSON once glance answers,
and ends when stdin is closed or on SIGTERM. Whatever glance and gunicorn log goes to stderr.

Images are made through its API. They have no data, which takes nothing away from their properties.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import pathlib
import signal
import socket
import sys
import threading

from gunicorn.app.base import BaseApplication
from glance.common import wsgi_app
import glance.common.config
import glance.db.sqlalchemy.api
from glance.db.sqlalchemy import alembic_migrations
from glance.db import migration as db_migration
from oslo_config import cfg

GLANCE_CONF = """\
[DEFAULT]
use_stderr = true
enabled_backends = file:file
[database]
connection = sqlite:///{directory}/glance.db
sqlite_synchronous = false
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = {directory}/images
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[paste_deploy]
flavor = keystone
config_file = {paste}
[keystone_authtoken]
www_authenticate_uri = {auth_url}
auth_url = {auth_url}
auth_type = password
# The only one that a keystone has that was just made.
interface = public
username = {username}
password = {password}
user_domain_name = Default
project_name = service
project_domain_name = Default
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--auth-url", required=True)
    parser.add_argument("--username", required=True)
    parser.add_argument("--password", required=True)
    arguments = parser.parse_args()
    # Glance reads the command line too, and would take ours for its own.
    del sys.argv[1:]

    directory = arguments.directory.resolve()
    (directory / "glance-api.conf").write_text(
        GLANCE_CONF.format(
            directory=directory,
            paste=pathlib.Path(sys.prefix, "etc/glance/glance-api-paste.ini"),
            auth_url=arguments.auth_url,
            username=arguments.username,
            password=arguments.password,
        )
    )
    os.environ["OS_GLANCE_CONFIG_DIR"] = str(directory)
    # Stdout is for our one line; what anybody else prints there goes with the log.
    announcement = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # So that multiprocessing takes the child along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    # Bound before anything else: whoever connects too early waits in the listening queue.
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    address = "{}:{}".format(*listener.getsockname())

    setup = multiprocessing.get_context("fork").Process(
        target=set_up, args=(directory,), daemon=True
    )
    setup.start()
    setup.join()
    if setup.exitcode != 0:
        sys.exit("setting up glance failed")
    Server(listener, address, announcement).run()


def set_up(directory):
    for name in ["images", "staging", "tasks"]:
        (directory / name).mkdir()
    glance.common.config.parse_args(
        args=[], default_config_files=[str(directory / "glance-api.conf")]
    )
    config = alembic_migrations.get_alembic_config()
    from alembic import command

    command.upgrade(config, "heads")


class Server(BaseApplication):
    """Glance under gunicorn, with one worker."""

    def __init__(self, listener, address, announcement):
        self.listener = listener
        self.address = address
        self.announcement = announcement
        super().__init__()

    def load_config(self):
        self.cfg.set("bind", "fd://{}".format(self.listener.fileno()))
        self.cfg.set("worker_class", "gthread")
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
        return wsgi_app.init_app()

    def attend(self, worker):
        """The worker is the one to watch stdin: the arbiter forks, and so had better have no threads."""

        def announce_and_wait():
            try:
                connection = http.client.HTTPConnection(self.address)
                connection.request("GET", "/versions")
                if connection.getresponse().status != 200:
                    return
                connection.close()
                announced = {"url": f"http://{self.address}"}
                print(json.dumps(announced), file=self.announcement, flush=True)
                sys.stdin.read()
            finally:
                # At once: nobody is left to wait for an answer.
                os.kill(worker.ppid, signal.SIGQUIT)
                os._exit(0)

        threading.Thread(target=announce_and_wait, daemon=True).start()


if __name__ == "__main__":
    main()
