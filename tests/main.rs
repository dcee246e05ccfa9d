//! What Vendordock promises, tried out on the real program: one file for each kind of promise.
//!
//! Each test starts a gateway of its own, with a configuration that stands in the test. The services behind it
//! are stand-ins on loopback; in `nova`, nova and keystone are the real ones.

mod bodies;
mod cache;
mod callers;
mod commands;
mod configuration;
mod credentials;
mod edge;
mod egress;
mod examples;
mod join;
mod keystone;
mod loading;
mod nova;
mod plugins;
mod secrets;
mod stopping;

mod gateway;
mod openstack;
mod program;
mod upstream;
