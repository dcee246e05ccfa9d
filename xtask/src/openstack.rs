//! The virtual environment in which the tests run nova, keystone and glance. It takes a minute to make and half a gigabyte of disk.

use std::path::PathBuf;

use crate::python::Environment;

const ENVIRONMENT: Environment = Environment {
    name: "openstack",
    requirements: include_str!("../../tests/openstack/requirements.txt"),
    // The oldest that nova supports.
    minimum: (3, 11),
    purpose: "nova, keystone and glance, which the tests run",
};

/// The environment's directory, for `VENDORDOCK_OPENSTACK`. Makes it first if there is none yet.
pub(crate) fn environment() -> anyhow::Result<PathBuf> {
    ENVIRONMENT.prepare()
}
