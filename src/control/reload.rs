//! A new configuration takes the place of the running one, whole or not at all.

use std::collections::HashSet;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use super::capacity::descriptors_per_session;
use super::listen::{self, OpenSocket};
use super::plan::{Plan, plan};
use super::process::{Fixed, Process};
use super::{Complete, Error, LoadedTls, OpenedLog, TlsState, complete, log};
use crate::config::{self, Config, Diagnostic, Errors, LoadError, Position, ServerId, diff};
use crate::worker::Shared;

/// A configuration as read and completed, with all warnings; or all that is wrong with it.
pub(super) type Read = Result<Complete, String>;

/// Reads a configuration file and what it names, on a thread of its own: the resolver blocks.
pub(super) fn start_reading(path: &Path, tls: &TlsState) -> oneshot::Receiver<Read> {
    let (send, receive) = oneshot::channel();
    let (path, tls) = (path.to_owned(), tls.clone());
    let reader = thread::Builder::new().name("reload".to_owned());
    // Should no thread be had, the sender is dropped, which the receiver notices.
    let _ = reader.spawn(move || {
        let _ = send.send(read(&path, &tls));
    });
    receive
}

fn read(path: &Path, tls: &TlsState) -> Read {
    let (config, mut warnings) = config::load(path).map_err(|error| match error {
        LoadError::Invalid(errors) => in_one_line(&errors),
        error @ LoadError::Read { .. } => error.to_string(),
    })?;
    let complete = complete(config, tls);
    let mut complete = complete.map_err(|errors| in_one_line(&errors.in_file(path)))?;
    Diagnostic::name_file(&mut complete.warnings, path);
    warnings.append(&mut complete.warnings);
    Ok(Complete {
        warnings,
        ..complete
    })
}

fn in_one_line(errors: &Errors) -> String {
    let errors: Vec<_> = errors.iter().map(one_line).collect();
    errors.join("; ")
}

fn one_line(diagnostic: &Diagnostic) -> String {
    let Position { line, column } = diagnostic.position;
    let file = diagnostic.file.as_deref().unwrap_or_default();
    let what = &diagnostic.message;
    match &diagnostic.help {
        Some(help) => format!("{file}:{line}:{column}: {what} ({help})"),
        None => format!("{file}:{line}:{column}: {what}"),
    }
}

/// Applies what was read, or says why not. `None`: nothing could be read at all.
pub(super) fn finish(process: &mut Process, read: Option<Read>) {
    let read = read.unwrap_or_else(|| Err("no thread could be started to read it".to_owned()));
    let applied = read.and_then(|mut complete| {
        let warnings = mem::take(&mut complete.warnings);
        let changes = apply(process, complete).map_err(|error| error.to_string())?;
        Ok((changes, warnings))
    });
    let registry = &mut *process.registry.borrow_mut();
    match applied {
        Ok((changes, warnings)) => {
            registry.reloads.succeeded += 1;
            registry.reloads.last_error = None;
            let generation = registry.snapshot.generation;
            tracing::info!(generation, "reloaded: {changes}");
            log_warnings(&warnings);
        }
        Err(error) => {
            tracing::error!("reload refused, nothing has changed: {error}");
            registry.reloads.failed += 1;
            registry.reloads.last_error = Some(error);
        }
    }
}

/// One record each.
pub(super) fn log_warnings(warnings: &[Diagnostic]) {
    for warning in warnings {
        tracing::warn!("{}", one_line(warning));
    }
}

/// Makes it the running configuration. Returns what that changes, for the log.
///
/// # Errors
/// When a socket cannot be opened; nothing has changed then.
fn apply(process: &mut Process, complete: Complete) -> Result<String, Error> {
    let known = process.known();
    let plan = plan(&known, &complete);
    let Complete {
        config,
        secrets,
        tls,
        ..
    } = complete;
    let opened = listen::bind_all(&plan.open, known.workers)?;
    let access_log = OpenedLog::access(config.access_log.as_ref())?;
    let statement_log = OpenedLog::statements(config.statement_log.as_ref())?;
    // Last: who has connected would be reset if anything were refused after it.
    listen::listen_on(&plan.open, &opened)?;
    // From here on nothing can fail.
    let changes = describe(process, &plan, &config, &tls);
    exchange_sockets(process, &plan, opened);
    set_limits(process, &plan, &config);
    set_servers(&process.shared(), &plan);
    plan.set_roles(&config);
    log::set_level(config.log.level);
    process.access_log.install(access_log);
    process.statement_log.install(statement_log);
    publish(process, plan, config);
    process.registry.borrow_mut().secrets = secrets;
    process.registry.borrow_mut().tls = tls;
    process.registry.borrow().checks.reconfigured();
    process.registry.borrow().findings.reconfigured();
    Ok(changes)
}

fn describe(process: &Process, plan: &Plan, config: &Config, tls: &LoadedTls) -> String {
    let sessions = |id: &ServerId| {
        let removed = plan.removed_servers.iter().map(|(server, _)| server);
        let mut those = removed.filter(|server| {
            (&**server.pool(), &**server.name(), server.address())
                == (&id.pool, &id.name, &id.address)
        });
        those.next().map_or(0, |server| server.sessions().into())
    };
    let registry = process.registry.borrow();
    let difference = diff(&registry.config, config);
    let mut parts = tls.renewed_since(&registry.tls);
    if parts.is_empty() || !difference.is_empty() {
        parts.insert(0, difference.render(sessions));
    }
    let mut changes = parts.join("; ");
    let waiting = needs_restart(&process.fixed, config).join(", ");
    if !waiting.is_empty() {
        changes += &format!("; not in force before a restart: {waiting}");
    }
    changes
}

fn exchange_sockets(process: &mut Process, plan: &Plan, opened: Vec<OpenSocket>) {
    let sockets = &mut process.sockets;
    plan.close.iter().for_each(|address| sockets.close(address));
    let addresses = plan.open.iter().map(|request| request.address.clone());
    sockets.open.extend(addresses.zip(opened));
    for (address, options) in &plan.retune {
        let stays = sockets
            .open
            .get_mut(address)
            .expect("a socket that stays is open");
        if let Err(error) = stays.set_options(*options) {
            tracing::warn!("{address}: cannot change the listening socket's options: {error}");
        }
    }
}

/// Limits hold for all workers from here on; those that wait at one are woken by the publication.
fn set_limits(process: &Process, plan: &Plan, config: &Config) {
    for (configured, listener) in config.listeners.iter().zip(&plan.listeners) {
        let limit = configured.max_connections.unwrap_or(u32::MAX);
        listener.gate.set_limit(limit);
    }
    let sessions_max = process
        .fixed
        .capacity
        .sessions_with(descriptors_per_session(config));
    let total = config.process.max_connections.unwrap_or(sessions_max);
    process.shared().total.set_limit(total.min(sessions_max));
}

/// Their health is the checks' business, which are told of the new configuration.
fn set_servers(shared: &Shared, plan: &Plan) {
    for pool in &plan.pools {
        for member in pool.members() {
            // It may have been on its way out.
            member.server.set_retire_at_ms(u64::MAX);
        }
    }
    for (server, timeout) in &plan.removed_servers {
        if let Some(timeout) = timeout {
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            server.set_retire_at_ms(shared.now_ms().saturating_add(timeout_ms));
        }
    }
}

fn publish(process: &mut Process, plan: Plan, config: Config) {
    let generation = process.shared().generation() + 1;
    let open = &process.sockets.open;
    let snapshot = plan.snapshot(generation, &config, |address| &open[address].socket);
    let registry = &mut *process.registry.borrow_mut();
    registry.shared.publish(snapshot);
    process.published_at_ms = registry.shared.now_ms();
    registry.snapshot = registry.shared.snapshot();
    registry.config = config;

    let members = plan.pools.iter().flat_map(|pool| pool.members());
    let running: HashSet<_> = members.map(|member| Arc::as_ptr(&member.server)).collect();
    registry
        .retired_servers
        .retain(|server| !running.contains(&Arc::as_ptr(server)));
    let removed = plan.removed_servers.into_iter().map(|(server, _)| server);
    registry.retired_servers.extend(removed);
    registry
        .retired_listeners
        .retain(|retired| !plan.listeners.iter().any(|runs| Arc::ptr_eq(runs, retired)));
    registry.retired_listeners.extend(plan.removed_listeners);
    registry.pools = plan.pools;
    registry.pool_tls = plan.pool_tls;
}

/// Keys whose new value does not hold until the next start.
fn needs_restart(fixed: &Fixed, config: &Config) -> Vec<&'static str> {
    let (before, after) = (&fixed.process, &config.process);
    let sessions = after.max_connections.unwrap_or(u32::MAX);
    let raised =
        after.max_connections != before.max_connections && sessions > fixed.capacity.sessions_max;
    let differences = [
        ("process.workers", after.workers != before.workers),
        (
            "process.pin_workers",
            after.pin_workers != before.pin_workers,
        ),
        ("process.max_connections", raised),
        ("admin.listen", config.admin != fixed.admin),
        ("log.format", config.log.format != fixed.log_format),
    ];
    let differing = differences.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;
    use crate::balance::{Health, Role, Server};
    use crate::config::Address;
    use crate::control::capacity::Capacity;
    use crate::control::start;

    const SESSIONS_MAX: u32 = 100;

    fn config(listeners: &[(&str, SocketAddr)], servers: &[&str]) -> String {
        let mut text = String::new();
        for (name, at) in listeners {
            text +=
                &format!("[[listener]]\nname = \"{name}\"\nlisten = \"{at}\"\npool = \"web\"\n");
        }
        text += "[[pool]]\nname = \"web\"\nremoved_server_timeout = \"5s\"\n";
        for (i, server) in servers.iter().enumerate() {
            text += &format!("[[pool.server]]\nname = \"s{i}\"\naddress = \"{server}\"\n");
        }
        text
    }

    fn parse(text: &str) -> Complete {
        complete(Config::parse(text).unwrap(), &TlsState::new().unwrap()).unwrap()
    }

    fn prepare(complete: Complete, capacity: Capacity) -> Process {
        let tls = TlsState::new().unwrap();
        start::prepare(None, (complete, tls), 2, capacity).unwrap()
    }

    /// A process of two workers whose threads do not run.
    fn process(text: &str) -> Process {
        let capacity = Capacity::new(1 << 16, 2, 0, Some(SESSIONS_MAX), 2).unwrap();
        prepare(parse(text), capacity)
    }

    /// On an address of its own, where no other test's connection takes the port meanwhile.
    fn free_address() -> SocketAddr {
        static USED: AtomicU8 = AtomicU8::new(1);
        let host = USED.fetch_add(1, Ordering::Relaxed);
        let listener = TcpListener::bind(SocketAddr::from(([127, 7, 7, host], 0))).unwrap();
        listener.local_addr().unwrap()
    }

    fn server(process: &Process, index: usize) -> Arc<Server> {
        let registry = process.registry.borrow();
        Arc::clone(&registry.pools[0].members()[index].server)
    }

    #[test]
    fn a_configuration_that_cannot_be_applied_changes_nothing() {
        let taken = TcpListener::bind(free_address()).unwrap();
        let bad = ("bad", taken.local_addr().unwrap());
        let (web, api) = (free_address(), free_address());
        let before = config(&[("web", web)], &["10.0.0.1:80"]);
        let mut process = process(&before);
        let listeners = [("web", web), ("api", api), bad];
        let after = parse(&config(&listeners, &["10.0.0.2:80"]));
        finish(&mut process, Some(Ok(after)));
        finish(&mut process, Some(Err("r.toml:1:1: nonsense".to_owned())));
        finish(&mut process, None);

        let registry = process.registry.borrow();
        assert_eq!(
            (registry.reloads.succeeded, registry.reloads.failed),
            (0, 3)
        );
        assert!(registry.reloads.last_error.is_some());
        assert_eq!(registry.config, parse(&before).config);
        assert_eq!(registry.shared.generation(), 1);
        assert_eq!(process.sockets.open.len(), 1);
        assert!(TcpStream::connect(web).is_ok(), "it is still listened on");
        assert!(
            TcpStream::connect(api).is_err(),
            "its socket was closed again"
        );
    }

    #[test]
    fn a_server_that_is_removed_is_given_its_time_and_one_that_returns_is_the_same() {
        let listeners = [("web", free_address())];
        let mut process = process(&config(&listeners, &["10.0.0.1:80", "10.0.0.2:80"]));
        let removed = server(&process, 1);
        assert!(removed.acquire(1), "a session");
        removed.set_health(Health::Down);

        let without = parse(&config(&listeners, &["10.0.0.1:80"]));
        let changes = apply(&mut process, without).unwrap();
        assert!(changes.contains("- s1 (1 session drains)"), "{changes}");
        let in_ms = removed.retire_at_ms() - process.shared().now_ms();
        assert!((4_000..=5_000).contains(&in_ms), "{in_ms}");
        assert!(Arc::ptr_eq(
            &process.registry.borrow().retired_servers[0],
            &removed
        ));

        let with = parse(&config(&listeners, &["10.0.0.1:80", "10.0.0.2:80"]));
        apply(&mut process, with).unwrap();
        assert!(Arc::ptr_eq(&server(&process, 1), &removed));
        assert_eq!(removed.retire_at_ms(), u64::MAX);
        assert_eq!(
            removed.health(),
            Health::Down,
            "whoever checks servers says that nobody checks this one any more, and sets it up"
        );
        assert!(process.registry.borrow().retired_servers.is_empty());
    }

    #[test]
    fn what_was_removed_is_forgotten_once_it_is_idle_and_no_worker_knows_it() {
        let (web, api) = (("web", free_address()), ("api", free_address()));
        let mut process = process(&config(&[web, api], &["10.0.0.1:80", "10.0.0.2:80"]));
        let removed = server(&process, 1);
        assert!(removed.acquire(1), "a session");
        apply(&mut process, parse(&config(&[web], &["10.0.0.1:80"]))).unwrap();

        let retired = |process: &Process| {
            let registry = process.registry.borrow();
            (
                registry.retired_servers.len(),
                registry.retired_listeners.len(),
            )
        };
        process.forget_drained();
        assert_eq!(retired(&process), (1, 1), "no worker has turned yet");
        for worker in process.shared().workers() {
            worker
                .counters
                .last_turn_ms
                .set(process.published_at_ms + 1);
        }
        process.forget_drained();
        assert_eq!(retired(&process), (1, 0), "the listener had no session");
        removed.release();
        process.forget_drained();
        assert_eq!(retired(&process), (0, 0));
    }

    #[test]
    fn limits_take_effect_at_once_and_never_above_what_workers_have_room_for() {
        let web = [("web", free_address())];
        let text = config(&web, &["10.0.0.1:80"]);
        let mut process = process(&text);
        let total = |process: &Process| process.shared().total.limit();
        assert_eq!(total(&process), SESSIONS_MAX);

        let lowered = text.replace("pool = ", "max_connections = 3\npool = ");
        let lowered = format!("[process]\nmax_connections = 7\n{lowered}");
        apply(&mut process, parse(&lowered)).unwrap();
        assert_eq!(total(&process), 7);
        let gate_limit = |process: &Process| {
            process.registry.borrow().snapshot.listeners[0]
                .listener
                .gate
                .limit()
        };
        assert_eq!(gate_limit(&process), 3);

        let raised = format!("[process]\nmax_connections = 1000\n{text}");
        let changes = apply(&mut process, parse(&raised)).unwrap();
        assert_eq!(
            (total(&process), gate_limit(&process)),
            (SESSIONS_MAX, u32::MAX)
        );
        assert!(changes.ends_with("not in force before a restart: process.max_connections"));
    }

    #[test]
    fn sockets_that_stay_are_the_same_and_one_that_goes_is_let_go() {
        let (web, api) = (("web", free_address()), ("api", free_address()));
        let mut process = process(&config(&[web, api], &["10.0.0.1:80"]));
        let socket =
            |process: &Process, at| Arc::clone(&process.sockets.open[&Address::Tcp(at)].socket);
        let stays = socket(&process, web.1);
        let goes = Arc::downgrade(&socket(&process, api.1));
        apply(&mut process, parse(&config(&[web], &["10.0.0.1:80"]))).unwrap();
        assert!(Arc::ptr_eq(&socket(&process, web.1), &stays));
        assert_eq!(
            goes.strong_count(),
            0,
            "nobody holds it but workers, and none runs here"
        );
        assert!(TcpStream::connect(api.1).is_err());
        apply(&mut process, parse(&config(&[web, api], &["10.0.0.1:80"]))).unwrap();
        assert!(TcpStream::connect(api.1).is_ok());
    }

    fn mysql_config(at: SocketAddr, roles: [&str; 2]) -> String {
        let mut text = format!(
            "[[listener]]\nname = \"db\"\nlisten = \"{at}\"\nprotocol = \"mysql\"\n\
             pool = \"db\"\n[[pool]]\nname = \"db\"\n"
        );
        for (i, role) in roles.iter().enumerate() {
            let address = format!("10.0.0.{}:3306", i + 1);
            text += &format!("[[pool.server]]\nname = \"s{i}\"\naddress = \"{address}\"\n{role}\n");
        }
        text
    }

    #[test]
    fn roles_are_the_configurations_and_stay_where_servers_are_asked() {
        let (primary, replica) = ("role = \"primary\"", "role = \"replica\"");
        let at = free_address();
        let mut process = process(&mysql_config(at, [primary, replica]));
        let roles = |process: &Process| {
            let registry = process.registry.borrow();
            let members = registry.pools[0].members().iter();
            members
                .map(|member| member.server.role())
                .collect::<Vec<_>>()
        };
        let (p, r) = (Some(Role::Primary), Some(Role::Replica));
        assert_eq!(roles(&process), [p, r]);
        process.registry.borrow().pools[0].members()[1]
            .server
            .set_lagging(true);
        let swapped = parse(&mysql_config(at, [replica, primary]));
        let changes = apply(&mut process, swapped).unwrap();
        assert!(changes.contains("s0 role primary -> replica"), "{changes}");
        assert_eq!(roles(&process), [r, p]);
        let server = Arc::clone(&process.registry.borrow().pools[0].members()[1].server);
        assert!(!server.is_lagging(), "nothing looks at its lag any more");

        let followed = mysql_config(at, ["", ""]).replace(
            "name = \"db\"\n[[pool.server]]",
            "name = \"db\"\nmysql = { roles = \"read_only\", monitor = { user = \"m\" } }\n\
             [[pool.server]]",
        );
        apply(&mut process, parse(&followed)).unwrap();
        assert_eq!(roles(&process), [r, p], "until a monitor finds otherwise");
    }

    #[test]
    fn who_has_not_logged_in_is_counted_over_reloads() {
        let at = free_address();
        let text = mysql_config(at, ["role = \"primary\"", "role = \"replica\""]);
        let mut process = process(&text);
        let route = |process: &Process| {
            let registry = process.registry.borrow();
            Arc::clone(registry.snapshot.listeners[0].mysql.as_ref().unwrap())
        };
        let before = route(&process);
        assert!(before.settings.unauthenticated.enter(1));
        let other = text.replace("[[pool]]\n", "[[pool]]\nmysql.calls_pin = true\n");
        apply(&mut process, parse(&other)).unwrap();
        let after = route(&process);
        assert!(after.settings.calls_pin && !before.settings.calls_pin);
        assert_eq!(after.settings.unauthenticated.count(), 1);
    }

    #[test]
    fn the_first_mysql_listener_leaves_room_for_fewer_sessions() {
        let at = free_address();
        let text = config(&[("web", at)], &["10.0.0.1:80"]);
        let capacity = Capacity::new(1024, 2, 1, None, 2).unwrap();
        let mut process = prepare(parse(&text), capacity);
        assert_eq!(process.shared().total.limit(), capacity.sessions_max);
        let mysql = text.replace("pool = ", "protocol = \"mysql\"\npool = ");
        let mysql = mysql.replace(":80\"\n", ":80\"\nrole = \"primary\"\n");
        apply(&mut process, parse(&mysql)).unwrap();
        let (before, after) = (capacity.sessions_max, process.shared().total.limit());
        assert_eq!(after, capacity.sessions_with(3));
        assert!(after < before);
    }
}
