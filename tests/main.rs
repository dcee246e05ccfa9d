//! What Vendordock promises, tried out on the real program: one file for each kind of promise.
//!
//! Each test starts a gateway of its own, with a configuration that stands in the test. The services behind it
//! are stand-ins on loopback; in `nova`, `jws` and `openstack_lookups::real`, nova, keystone and
//! glance are the real ones, and so is cloud-init in `cloud_init`.

mod bodies;
mod breaker;
mod cache;
mod callers;
mod cloud_init;
mod clouds;
mod commands;
mod compose;
mod configuration;
mod crashes;
mod credentials;
mod edge;
mod egress;
mod egress_addresses;
mod egress_rules;
mod examples;
mod explain;
mod extra_headers;
mod failure_policy;
mod front_door;
mod hostile;
mod join;
mod jws;
mod keystone;
mod keystone_under_load;
mod languages;
mod limits;
mod listening;
mod loading;
mod log;
mod metrics;
mod moving_in;
mod nova;
mod openstack_lookups;
mod overload;
mod plugins;
mod policies;
mod redirects;
mod rotation;
mod secrets;
mod slow;
mod state;
mod static_tokens;
mod stopping;
mod tls;
mod traces;
mod upstreams;
mod wasi_http;

mod gateway;
mod guest;
mod openstack;
mod program;
mod upstream;
