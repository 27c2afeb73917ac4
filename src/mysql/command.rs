//! `COM_*`: the commands of a client, and what each is answered with.

/// What a server answers a command with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing at all.
    None,
    /// One OK, EOF or ERR packet.
    Status,
    /// Results of a statement, one or several, in text or binary rows, or a request for a file.
    Results,
    /// The same, of an execution that may have opened a cursor: then no rows follow the columns.
    Execution,
    /// Rows without columns before them: `COM_STMT_FETCH`.
    Rows,
    /// `COM_STMT_PREPARE_OK` and the definitions of parameters and columns.
    Prepared,
    /// Column definitions up to an EOF.
    Fields,
    /// One string in one packet.
    Text,
    /// Packets of a replication stream until EOF or ERR, if it ever ends.
    Stream,
    /// A conversation that ends with OK or ERR.
    Authentication,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $byte:literal => $reply:ident,)+) => {
        /// A command, by the first byte of its packet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Command {
            $($(#[$doc])* $name,)+
            /// A byte that is no command, or one that no client sends: answered with an error.
            Unknown(u8),
        }

        impl Command {
            /// Every command that is known.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The command of a packet's first byte.
            pub const fn from_byte(byte: u8) -> Self {
                match byte { $($byte => Self::$name,)+ other => Self::Unknown(other) }
            }

            /// The first byte of its packet.
            pub const fn byte(self) -> u8 {
                match self { $(Self::$name => $byte,)+ Self::Unknown(byte) => byte }
            }

            /// What it is answered with.
            pub const fn reply(self) -> Reply {
                match self { $(Self::$name => Reply::$reply,)+ Self::Unknown(_) => Reply::Status }
            }
        }
    };
}

commands! {
    /// `COM_QUIT`: the client goes.
    Quit = 0x01 => None,
    /// `COM_INIT_DB`: the default database.
    InitDb = 0x02 => Status,
    /// `COM_QUERY`: a statement as text.
    Query = 0x03 => Results,
    /// `COM_FIELD_LIST`: the columns of a table.
    FieldList = 0x04 => Fields,
    /// `COM_CREATE_DB`, before MySQL 8.
    CreateDb = 0x05 => Status,
    /// `COM_DROP_DB`, before MySQL 8.
    DropDb = 0x06 => Status,
    /// `COM_REFRESH`: FLUSH.
    Refresh = 0x07 => Status,
    /// `COM_SHUTDOWN`.
    Shutdown = 0x08 => Status,
    /// `COM_STATISTICS`: a line for people.
    Statistics = 0x09 => Text,
    /// `COM_PROCESS_INFO`: SHOW PROCESSLIST.
    ProcessInfo = 0x0A => Results,
    /// `COM_PROCESS_KILL`: KILL.
    ProcessKill = 0x0C => Status,
    /// `COM_DEBUG`: a dump to the server's log.
    Debug = 0x0D => Status,
    /// `COM_PING`.
    Ping = 0x0E => Status,
    /// `COM_CHANGE_USER`: another login on the same connection.
    ChangeUser = 0x11 => Authentication,
    /// `COM_BINLOG_DUMP`: replication by file and position.
    BinlogDump = 0x12 => Stream,
    /// `COM_REGISTER_SLAVE`.
    RegisterReplica = 0x15 => Status,
    /// `COM_STMT_PREPARE`.
    StmtPrepare = 0x16 => Prepared,
    /// `COM_STMT_EXECUTE`.
    StmtExecute = 0x17 => Execution,
    /// `COM_STMT_SEND_LONG_DATA`: a part of a parameter.
    StmtSendLongData = 0x18 => None,
    /// `COM_STMT_CLOSE`.
    StmtClose = 0x19 => None,
    /// `COM_STMT_RESET`: long data and cursor are dropped.
    StmtReset = 0x1A => Status,
    /// `COM_SET_OPTION`: several statements in one query, on or off.
    SetOption = 0x1B => Status,
    /// `COM_STMT_FETCH`: rows of a cursor.
    StmtFetch = 0x1C => Rows,
    /// `COM_BINLOG_DUMP_GTID`: replication by GTID.
    BinlogDumpGtid = 0x1E => Stream,
    /// `COM_RESET_CONNECTION`: a fresh session without a login.
    ResetConnection = 0x1F => Status,
    /// `COM_STMT_BULK_EXECUTE` of MariaDB.
    StmtBulkExecute = 0xFA => Execution,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_a_command_and_back() {
        for byte in 0..=u8::MAX {
            assert_eq!(Command::from_byte(byte).byte(), byte);
        }
        assert_eq!(Command::from_byte(0x1D), Command::Unknown(0x1D));
        assert_eq!(Command::Unknown(0x1D).reply(), Reply::Status);
    }

    #[test]
    fn three_commands_are_not_answered() {
        let silent = Command::ALL.iter().filter(|c| c.reply() == Reply::None);
        let silent: Vec<_> = silent.map(|command| command.byte()).collect();
        assert_eq!(silent, [0x01, 0x18, 0x19]);
    }
}
