"""Boots a guest as far as vendor data matters, with cloud-init's own classes and without touching the machine.

    python -I guest.py DIRECTORY

Reads one JSON object from stdin, and writes one to stdout. All that cloud-init writes goes below DIRECTORY; what it would
run is only told.

    {"vendor_data2": {"cloud-init": "..."}, "vendor_data": {...} or null, "user_data": "..." or ""}

    {"scripts": {"NAME": "content"}, "boothooks": {"NAME": "content"}, "cloud_config": {...}, "with_user_data": {...},
     "parts": [["content type", "file name"]], "log": ["WARNING ..."], "version": "22.4.2"}

`scripts` are those that run late in the first boot, by the order of their names. `cloud_config` is what vendor_data2 alone
comes to, `with_user_data` what all sources come to.
"""

import json
import logging
import os
import pathlib
import sys

from cloudinit import handlers
from cloudinit import helpers
from cloudinit import stages
from cloudinit import subp
from cloudinit import util
from cloudinit import version
from cloudinit.settings import PER_INSTANCE
from cloudinit.sources import DataSourceConfigDrive

UUID = "a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11"

# The newest version of the tree that this cloud-init and nova both know.
TREE = "2018-08-27"


class Log(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(f"{record.levelname} {record.getMessage()}")


class Init(stages.Init):
    """Finds its files below one directory, and its configuration nowhere else."""

    directory = None

    def _read_cfg(self, extra_fns):
        base = {
            "system_info": {
                "distro": "debian",
                "paths": {
                    "cloud_dir": str(self.directory / "cloud"),
                    "run_dir": str(self.directory / "run"),
                },
            },
            # As the distributions' own configuration has it.
            "vendor_data": {"enabled": True, "prefix": []},
            "vendor_data2": {"enabled": True, "prefix": []},
        }
        paths = helpers.Paths(base["system_info"]["paths"], self.datasource)
        return helpers.ConfigMerger(paths=paths, datasource=self.datasource, base_cfg=base).cfg


def main():
    directory = pathlib.Path(sys.argv[1])
    question = json.load(sys.stdin)
    # Stdout is for our answer; what anybody else prints there goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    log = Log()
    logging.getLogger().addHandler(log)

    def told(command, *_args, **_kwargs):
        return subp.SubpResult("", "")

    # Boothooks run in the middle of it all, and devices are looked for with blkid.
    subp.subp = told

    write_drive(directory / "cloud/seed/config_drive/openstack", question)
    init = boot(directory)
    print(json.dumps({**seen(init), "log": log.lines, "version": version.version_string()}), file=answers)


def write_drive(drive, question):
    for tree in ["latest", TREE]:
        files = drive / tree
        files.mkdir(parents=True)
        (files / "meta_data.json").write_text(json.dumps({"uuid": UUID, "hostname": "web"}))
        # nova writes ASCII.
        (files / "vendor_data2.json").write_text(json.dumps(question["vendor_data2"]))
        if question["vendor_data"] is not None:
            (files / "vendor_data.json").write_text(json.dumps(question["vendor_data"]))
        if question["user_data"]:
            (files / "user_data").write_text(question["user_data"])


def boot(directory):
    """What `cloud-init init` does, as far as data from outside is handled."""
    init = Init()
    init.directory = directory
    init.initialize()
    datasource = DataSourceConfigDrive.DataSourceConfigDrive(init.cfg, init.distro, init.paths)
    if not datasource.get_data():
        raise RuntimeError("cloud-init does not take the drive")
    init.datasource = datasource
    init._reset()
    init.instancify()
    init.update()
    init.consume_data(PER_INSTANCE)
    return init


def seen(init):
    scripts = pathlib.Path(init.paths.get_ipath_cur("vendor_scripts"))
    boothooks = pathlib.Path(init.paths.get_ipath_cur("boothooks"))
    cloud_config = pathlib.Path(init.paths.get_ipath_cur("vendor2_cloud_config"))
    parts = []

    def note(_data, filename, _payload, headers):
        parts.append([headers["Content-Type"], filename])

    handlers.walk(init.datasource.get_vendordata2(), note, data=None)
    loaded = util.load_yaml(cloud_config.read_text()) if cloud_config.exists() else None
    init._reset()
    merged = init.cfg
    return {
        "scripts": contents(scripts),
        "boothooks": contents(boothooks),
        "cloud_config": loaded or {},
        "with_user_data": merged,
        "parts": parts,
    }


def contents(directory):
    if not directory.is_dir():
        return {}
    files = sorted(directory.iterdir())
    # Byte for byte: a line end is part of a script.
    return {file.name: file.read_bytes().decode() for file in files}


main()
