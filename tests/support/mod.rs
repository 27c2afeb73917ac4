//! What the tests are written with: scripted peers, a balancer under test, the tools around it.
//!
//! Nothing here waits for time to pass: everything waits for a condition, and fails at a deadline.

// Every test binary is a crate of its own and uses a part of this one.
#![allow(dead_code, unused_imports)]

mod authority;
mod balancer;
mod blackhole;
mod chromium;
pub(crate) mod clients;
mod config;
pub(crate) mod cuts;
mod gate;
mod http;
mod janitor;
mod mariadb;
mod metrics;
mod mysql9;
mod network;
mod openssl;
mod peer;
mod ports;
mod process;
pub(crate) mod rogue;
pub(crate) mod rules;
mod seccomp;
mod servers;
mod service;
pub(crate) mod sql_client;
mod sql_server;
mod tape;
mod tls;
mod tools;
mod wait;

pub(crate) use self::authority::{Authority, Identity};
pub(crate) use self::balancer::{Balancer, Launch};
pub(crate) use self::blackhole::Blackhole;
pub(crate) use self::chromium::Chromium;
pub(crate) use self::clients::Client;
pub(crate) use self::config::{Config, PasswordFile};
pub(crate) use self::http::get as http_get;
pub(crate) use self::mariadb::{
    MariaDb, PRIMARY, Pair, REPLICA, SECOND_REPLICA, Trio, mariadb, mariadb_as_demo, refused, said,
};
pub(crate) use self::metrics::Metrics;
pub(crate) use self::mysql9::{Mysql9, Mysql9Pair, mariadb11, mysql9};
pub(crate) use self::network::{COUNTED, in_own_network, make_counted_address, run};
pub(crate) use self::openssl::{SClient, ocsp_response};
pub(crate) use self::peer::{End, Peer, Server, slow_client, slow_server, small_buffers, within};
pub(crate) use self::ports::Port;
pub(crate) use self::process::Process;
pub(crate) use self::rogue::{Part, Rogue, RunningRogue, Stop};
pub(crate) use self::servers::Servers;
pub(crate) use self::service::{Service, WebServer};
pub(crate) use self::sql_client::{Login, SqlClient, SqlError};
pub(crate) use self::sql_server::SqlServer;
pub(crate) use self::tape::{Chunks, Tape, receive_tape, send_tape};
pub(crate) use self::tls::{
    SITE, Sealer, TlsEnd, TlsPeer, resuming, server_config, server_of, showing, tls12, tls12_rsa,
    tls13,
};
pub(crate) use self::tools::{Nginx, Site, Wrk, curl, curl_code, curl_with, sysbench};
pub(crate) use self::wait::{DEADLINE, eventually, lines, quickly, until};
