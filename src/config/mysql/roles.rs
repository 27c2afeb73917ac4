//! Which servers take writes and which take reads: what the roles of a pool have to be together.

use super::model::{MysqlPool, Role, Roles};
use crate::config::diagnostic::Complaint;
use crate::config::model::Server;
use crate::config::reader::{Report, Table};
use crate::config::usage::Speaks;
use crate::config::value;

/// The servers of a pool: as tables, and as read, `None` where something is wrong.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Servers<'a> {
    pub(in crate::config) tables: &'a [Table<'a>],
    pub(in crate::config) read: &'a [Option<Server>],
}

pub(in crate::config) fn read_role(table: &Table<'_>) -> Option<Role> {
    const ROLES: &[(&str, Role)] = &[("primary", Role::Primary), ("replica", Role::Replica)];
    table.optional("role", value::one_of(ROLES))
}

impl Servers<'_> {
    /// Records what is wrong with the roles in a pool that is spoken to like this. `mysql` is what
    /// the pool's table says; `None` where that is not known.
    pub(in crate::config) fn check_roles(
        self,
        pool: &Table<'_>,
        speaks: Speaks,
        mysql: Option<&MysqlPool>,
        report: &Report<'_>,
    ) {
        match (speaks, mysql.map(|mysql| mysql.roles)) {
            (Speaks::Tcp, _) => {
                let why = "is for pools behind a mysql listener, and none uses this pool";
                let help = "leave it out, or set `protocol = \"mysql\"` on the pool's listener";
                self.forbid(why, help, report);
            }
            (Speaks::Mysql, Some(Roles::FollowReadOnly)) => {
                let why = "stands beside `roles = \"read_only\"`, which asks the servers";
                let help = "leave it out, or set `roles = \"configured\"` in [pool.mysql]";
                self.forbid(why, help, report);
            }
            (Speaks::Mysql, Some(Roles::Configured)) => self.require(pool, report),
            (Speaks::Mysql, None) | (Speaks::Unclear, _) => {}
        }
    }

    fn forbid(self, why: &str, help: &str, report: &Report<'_>) {
        for table in self.tables.iter().filter(|table| table.has("role")) {
            let complaint = Complaint::new(why).about("role").help(help);
            report.error(&table.span_of("role"), complaint);
        }
    }

    fn require(self, pool: &Table<'_>, report: &Report<'_>) {
        let help = "add `role = \"primary\"` or `role = \"replica\"`, or have the servers asked: \
                    `roles = \"read_only\"` in [pool.mysql]";
        self.tables
            .iter()
            .for_each(|table| table.require("role", help));
        let all: Option<Vec<&Server>> = self.read.iter().map(Option::as_ref).collect();
        let Some(all) = all.filter(|all| all.iter().all(|server| server.role.is_some())) else {
            return;
        };
        if let Err(complaint) = check_primaries(&all)
            && !all.is_empty()
        {
            report.missing(&pool.span, complaint);
        }
    }
}

/// Whether exactly one server takes writes at a time. Checked again once names are addresses.
pub(in crate::config) fn check_primaries(servers: &[&Server]) -> Result<(), Complaint> {
    let primaries = servers
        .iter()
        .filter(|server| server.role == Some(Role::Primary));
    let primaries: Vec<_> = primaries.collect();
    if primaries.is_empty() {
        let complaint = Complaint::new("the pool has no primary");
        let help = "give the server that takes writes `role = \"primary\"`";
        return Err(complaint.help(help));
    }
    if primaries.iter().all(|server| server.weight == 0) {
        let complaint = Complaint::new("no primary of the pool can get sessions");
        return Err(complaint.help("give it a weight above 0"));
    }
    let regular = primaries.iter().filter(|server| !server.backup).count();
    if primaries.len() > 1 && regular != 1 {
        let names: Vec<_> = primaries.iter().map(|server| &*server.name).collect();
        let message = format!(
            "the pool has several primaries ({}), of which {regular} are no backup",
            names.join(", ")
        );
        let help = "one takes the writes; add `backup = true` to those that stand in for it";
        return Err(Complaint::new(message).help(help));
    }
    Ok(())
}
