//! The node agent: keeps the zone in shared memory in step with the Kubernetes API, or with a
//! directory of manifests, and explains itself. It answers no DNS query; processes do that for
//! themselves, from the zone.
//!
//! ```text
//!   API server --watch--\                                        zone.v1 --> every process
//!                        parse --Event--> model --put/delete--> publish
//!   *.yaml --manifests--/                                        serve: /healthz /readyz /metrics
//! ```
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program, unlike the libraries in other people's processes"
)]

pub mod answer;
pub mod cli;
pub mod command;
pub mod config;
pub mod csi;
pub mod dump;
pub mod external;
pub mod fanout;
pub mod forward;
pub mod jitter;
pub mod labels;
pub mod listen;
pub mod manifests;
pub mod model;
pub mod notice;
pub mod objects;
pub mod outside;
pub mod parse;
pub mod pods;
pub mod preflight;
pub mod publish;
pub mod query;
pub mod removal;
pub mod report;
pub mod run;
pub mod serve;
pub mod status;
pub mod switch;
pub mod table;
pub mod telemetry;
pub mod top_level;
pub mod untaint;
pub mod verify;
pub mod views;
pub mod watch;
