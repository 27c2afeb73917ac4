//! ringway: a layer-4 load balancer for Linux on io_uring. This is the map of the house; the why is
//! in `docs/architecture.md`.
//!
//! Two planes. The **data plane** is one pinned thread per core, each with its own ring and its own
//! listening sockets; it takes connections, chooses servers and moves bytes. The **control plane**
//! is one thread on tokio-uring; it reads the configuration, checks servers, answers the admin port
//! and writes logs. They share immutable snapshots, atomics and bounded queues, and no lock.
//!
//! - [`config`]: TOML text in, a valid `Config` out, or every error of the file at once; what
//!   differs between two of them.
//! - [`balance`]: which server gets the next session. Pure state and atomics.
//! - [`telemetry`]: counters, reasons and records, as plain data.
//! - [`mysql`]: the MySQL protocol: packets, login, replies; what an SQL statement is, and which
//!   server it goes to. Sans-IO.
//! - [`tls`]: TLS: sessions, certificates, what a client asks for, rules by name. Sans-IO over rustls.
//! - [`worker`]: the data plane. Nearly all `unsafe` code is here.
//! - [`control`]: the control plane: start, reload, health checks, admin, logs, shutdown.
//! - [`cli`]: one file per command.
//! - [`demo`]: web servers and a MySQL pair inside the process, for `ringway demo`.
//! - [`limits`]: every constant with its reason.
//!
//! Imports point one way: `config`, `balance`, `mysql`, `telemetry` and `tls` know no socket, clock,
//! ring or thread; `worker` knows those five and never `control`; `control` knows them all.
//! `tests/layout.rs` holds that.

pub mod balance;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
#[cfg(any(test, feature = "fuzzing"))]
mod entropy;
pub mod limits;
pub mod mysql;
mod sys;
pub mod telemetry;
pub mod tls;
pub mod worker;
