//! Every constant with its reason, and the relations between them that the code relies on.

use std::time::Duration;

/// Bytes of one receive buffer. A read that fills one is the sign of a bulk stream; smaller ones
/// would make bulk streams turn to splicing on mere web pages, larger ones waste cache on SQL.
pub const BUFFER_BYTES: u32 = 16 * 1024;

/// Entries of the ring that offers receive buffers to the kernel. A turn can complete a receive of
/// every busy session, and a multishot receive that finds nothing offered ends, so this is the
/// number of sessions that can be busy in one turn without that.
pub const RING_BUFFERS: u16 = 1024;

/// Buffers offered in a turn until one has been seen to need more. Few, because the kernel takes
/// them in turn: 512 KiB stay in the second-level cache of most cores.
pub const BUFFERS_OFFERED_AT_FIRST: usize = 32;

/// Receive buffers of one worker at most: what ids of 16 bits can name beside the wide ones. Address
/// space, not memory: a buffer costs a page once it has been used.
pub const BUFFERS_MAX: usize = (1 << 16) - WIDE_BUFFERS;

/// Bytes of a wide buffer, which ciphertext is sent from: room for three whole buffers of plaintext
/// as three whole records, which is what one receive brings at most. In buffers of the ordinary
/// size each record leaves a stub of a second one behind, and every send wakes the peer: a MiB
/// cost a fifth more.
pub const WIDE_BUFFER_BYTES: u32 = 3 * (BUFFER_BYTES + 32);

/// Wide buffers of one worker: as many as sends of a turn. More are wanted only where peers do not
/// read, and sends to these make do with an ordinary buffer.
pub const WIDE_BUFFERS: usize = RING_BUFFERS as usize;

/// Buffers one session can hold while neither side reads: what [`RECEIVE_CAP_BYTES`] and one
/// buffer of overshoot fill, twice.
pub const BUFFERS_PER_SESSION: usize = 8;

/// Bytes one receive operation may bring before it has to be armed again: what a direction can
/// hold when its destination does not read. A multishot receive without it drains its socket.
pub const RECEIVE_CAP_BYTES: u32 = 32 * 1024;

/// Chunks one direction may hold. Small chunks are merged into the tail of the last buffer, so two
/// neighbours together always exceed one buffer, and [`RECEIVE_CAP_BYTES`] plus one buffer of
/// overshoot never needs more than this.
pub const CHUNKS_PER_DIRECTION: usize = 8;

/// Submission entries of one ring: more in a turn are submitted early.
pub const SUBMISSION_ENTRIES: u32 = 1024;

/// Completion entries of one ring. Overflow is survivable and slow, so there is room for a burst of
/// all buffers, all sends and a whole backlog of accepts.
pub const COMPLETION_ENTRIES: u32 = 16 * 1024;

/// A turn may wait for several completions for this part of what servers take to answer: a quarter.
/// With sysbench's 8 threads an eighth spared half as much CPU, and longer waits no more.
pub const COALESCE_RESPONSE_DIVISOR: u32 = 4;

/// Microseconds that a turn waits for that at most: what nobody has asked for (a connection to
/// accept, a message that a server sends by itself) may be delayed by it as well.
pub const COALESCE_US_MAX: u32 = 500;

/// Below this the kernel's timer costs more than the wake-ups that are spared.
pub const COALESCE_US_MIN: u32 = 20;

/// Completions that a turn waits for at most. A worker that is busy all the time finds as many
/// without waiting, and must not wait for more: 16 took throughput from wrk's 64 connections, and
/// spared no more CPU than 8.
pub const COALESCE_COMPLETIONS_MAX: u32 = 8;

/// Microseconds of an epoch. A session that has waited longer than one to two of them no longer
/// speaks for more traffic: whatever it said needs no answer, or one that takes long.
pub const COALESCE_EPOCH_US: u64 = 50_000;

/// Consecutive bursts of at least [`SPLICE_BURST_BYTES`] that turn a direction to splicing.
pub const SPLICE_AFTER_BURSTS: u8 = 2;

/// A burst that marks a bulk stream; below it two `splice` calls cost more than one copy.
pub const SPLICE_BURST_BYTES: u32 = BUFFER_BYTES;

/// Consecutive small rounds that turn a direction back to copying.
pub const COPY_AFTER_SMALL_ROUNDS: u8 = 3;

/// A round below this is small. Half of what turned the direction to splicing: hysteresis.
pub const COPY_BELOW_BYTES: u32 = SPLICE_BURST_BYTES / 2;

/// What one direction may splice in one turn, so that others get theirs.
pub const SPLICE_BYTES_PER_TURN: usize = 256 * 1024;

/// A splice from a socket that moved this much probably left more; below it, waiting for readiness
/// is cheaper than asking again.
pub const SPLICE_MORE_LIKELY_BYTES: usize = 64 * 1024;

/// Capacity asked for a pipe. A pipe of the default size (64 KiB) doubles the number of calls per
/// megabyte; above 256 KiB nothing more was measured.
pub const PIPE_BYTES: usize = 256 * 1024;

/// Pipes one worker may have. Destinations that do not read keep theirs; four workers then hold 64
/// MiB, which is what the kernel lets an unprivileged user have in full-size pipes (pipe(7)).
pub const PIPES_PER_WORKER: usize = 64;

/// Resolution of the timer wheel. Half of the smallest timeout the configuration accepts.
pub const TICK: Duration = Duration::from_millis(5);

/// How soon an operation is tried again that failed for want of kernel memory or a descriptor.
pub const SHORTAGE_RETRY: Duration = Duration::from_millis(10);

/// Such failures in a row after which a session is ended.
pub const MEMORY_FAILURES_MAX: u8 = 3;

/// Addresses one worker can accept on at a time, those of removed listeners included.
pub const ACCEPTORS_MAX: usize = 4096;

/// Below this much room under the limit on all sessions, connections are accepted one by one: a
/// multishot accept would empty the whole backlog into a process that cannot take it.
pub const MULTISHOT_ACCEPT_ROOM: u32 = 4096;

/// How long accepting pauses after the process or the system ran out of descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a reset that waits for unacknowledged bytes looks whether they are gone.
pub const RESET_POLL: Duration = Duration::from_millis(10);

/// Age at which a session's server socket gets keepalive and `TCP_USER_TIMEOUT`. Shorter sessions
/// end before either could act, and are spared five system calls.
pub const TUNE_AFTER: Duration = Duration::from_secs(1);

/// How long after a FIN its sender is watched for a reset. Nothing is received from it any more, so
/// nothing else would tell; sessions that end sooner are spared the two operations.
pub const WATCH_AFTER: Duration = Duration::from_secs(1);

/// How long a worker that ends waits for the last completions before it leaks what they point to.
pub const RING_DRAIN: Duration = Duration::from_secs(1);

/// Session slots a token can name.
pub const SLOT_BITS: u32 = 24;

/// Servers a session remembers as tried: the first one and every retry.
pub const TRIES_MAX: usize = 8;

/// Slots of a weighted schedule: the sum of a pool's weights, divided by what they share.
pub const SCHEDULE_SLOTS_MAX: usize = 65_536;

/// Tickets one pick draws before it looks for a server by itself. A pool whose heavy servers are
/// down would otherwise draw thousands.
pub const TICKETS_PER_PICK: usize = 128;

/// Descriptors one session may hold: the client's socket and the server's.
pub const DESCRIPTORS_PER_SESSION: u64 = 2;

/// Descriptors one session of a mysql listener may hold: the client's socket, the primary's and the
/// replica's.
pub const DESCRIPTORS_PER_MYSQL_SESSION: u64 = 3;

/// Descriptors kept for rings, eventfds, logs, the admin port and probes, whatever the load.
pub const DESCRIPTORS_RESERVED: u64 = 64;

/// Descriptors kept for the pipes of splicing directions, per worker.
pub const DESCRIPTORS_FOR_PIPES: u64 = 2 * PIPES_PER_WORKER as u64;

/// Descriptors a worker itself holds: its ring, its eventfd, and one to spare for each.
pub const DESCRIPTORS_PER_WORKER: u64 = 4;

/// Sessions at most, however high the descriptor limit. Container runtimes hand out limits of a
/// billion, and every worker reserves address space for as many sessions as the process may have.
pub const SESSIONS_MAX: u32 = 1 << 20;

/// How often the control thread looks whether workers live and what can be forgotten.
pub const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How often a shutdown looks whether the workers have ended.
pub const SHUTDOWN_POLL: Duration = Duration::from_millis(20);

/// How long a shutdown waits for workers that were told to stop, beyond [`RING_DRAIN`].
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// How often a worker tells that one of its listening sockets is at a limit.
pub const LIMIT_NOTICE_INTERVAL: Duration = Duration::from_secs(10);

/// How often the log repeats that one listener or server is in the same kind of trouble.
pub const NOTICE_INTERVAL: Duration = Duration::from_secs(60);

/// `TCP_DEFER_ACCEPT`, in seconds. The kernel rounds it up to its first retransmission of SYN-ACK;
/// a client that is silent for longer is handed over all the same.
pub const DEFER_ACCEPT_S: u32 = 1;

/// How long a start waits for an address that no process has: the sockets of one that was killed
/// live on until the kernel has taken its rings apart, which it does after the process is gone.
pub const ORPHANED_SOCKET: Duration = Duration::from_secs(3);

/// How often it tries meanwhile.
pub const ORPHANED_SOCKET_POLL: Duration = Duration::from_millis(20);

/// Names that are resolved at the same time. A resolver that does not answer costs seconds a name.
pub const RESOLVER_THREADS: usize = 16;

/// Access-log records on their way to the writer. A writer that falls behind by more loses lines,
/// which are counted; traffic never waits for it.
pub const ACCESS_RECORDS: usize = 16 * 1024;

/// Statement-log records on their way to the writer, with the same consequences.
pub const STATEMENT_RECORDS: usize = 16 * 1024;

/// Bytes of a statement that the statement log looks at, and of its line's text. What an application
/// does is known by then; what follows is mostly data.
pub const STATEMENT_TEXT_BYTES: usize = 512;

/// Rare events on their way from the workers to the log.
pub const NOTICES: usize = 1024;

/// How much later than its deadline a health check may be found to have failed. Beyond, this
/// process was stopped, and what it missed says nothing about the server.
pub const CHECK_LATE: Duration = Duration::from_millis(250);

/// Such checks in a row after which the next one counts all the same: the host is merely slow.
pub const CHECKS_LATE_MAX: u32 = 3;

/// Bytes of an answer to a health check that are looked at: its status is in the first thirteen.
pub const STATUS_LINE_BYTES: usize = 1024;

/// How long a server may take to send the rest of its answer to a health check, which nobody reads.
pub const CHECK_REST: Duration = Duration::from_millis(200);

/// Reads of at most [`STATUS_LINE_BYTES`] that the rest of such an answer may take.
pub const CHECK_REST_READS: usize = 64;

/// Connections of the admin port at a time: a dashboard in each of a few browsers, a few scrapers.
/// More wait in the kernel's backlog.
pub const ADMIN_CONNECTIONS: usize = 64;

/// What a request to the admin port may be long.
pub const ADMIN_REQUEST_BYTES: usize = 8192;

/// How long a client of the admin port may take to send a request, or leave its connection unused.
pub const ADMIN_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Age at which a connection of the admin port is closed after its next answer.
pub const ADMIN_CONNECTION_AGE: Duration = Duration::from_secs(60);

/// Descriptors held back so that the admin port answers when there are no others.
pub const ADMIN_SPARE_DESCRIPTORS: usize = 4;

/// How long the admin port leaves connections in the backlog when they cannot be accepted.
pub const ADMIN_ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A worker that has not turned for so long is asleep or hangs: it is woken to find out which.
pub const WORKER_ASLEEP: Duration = Duration::from_secs(1);

/// How long a worker that was woken may take to turn.
pub const WORKER_WAKES_WITHIN: Duration = Duration::from_secs(1);

/// A worker that was woken and has not turned for so long will not turn again.
pub const WORKER_HANGS: Duration = Duration::from_secs(15);

/// How often `/ready` and `/live` look whether a worker that was woken has turned.
pub const WORKER_POLL: Duration = Duration::from_millis(2);

/// Bytes of an access log or a statement log written in one go.
pub const LOG_BATCH_BYTES: usize = 64 * 1024;

/// How soon such a log that could not be written is opened again.
pub const LOG_REOPEN: Duration = Duration::from_secs(5);

/// How often the process's log repeats that such a log cannot be written.
pub const LOG_WARNING: Duration = Duration::from_secs(60);

/// How long the end of the process waits for the last lines of each.
pub const LOG_FINISH: Duration = Duration::from_secs(2);

/// What a client may send in one packet before it is logged in, as its header announces it. A
/// handshake response with a full set of connection attributes is a few kilobytes; the server's own
/// limit on attributes is 64 KiB.
pub const LOGIN_PACKET_BYTES_MAX: u32 = 64 * 1024;

/// What a server's greeting may be long. Real ones are below 100 bytes.
pub const GREETING_BYTES_MAX: u32 = 1024;

/// Packets a server and a client may exchange in one login. The longest conversations, of plugins
/// for several factors, take fewer than ten; a pair that goes on for ever holds a place for ever.
pub const LOGIN_ROUNDS_MAX: u8 = 24;

/// What is kept of one OK packet of a reply while it arrives in pieces. Beyond are changes of the
/// session that nobody hears of: a set of GTIDs is the only one that comes near.
pub const OK_PACKET_BYTES_MAX: usize = 16 * 1024;

/// What a reply tracker keeps allocated between replies.
pub const REPLY_SCRATCH_BYTES: usize = 64;

/// Columns of a result set at most: MySQL and MariaDB end at 4096. More is no result set.
pub const COLUMNS_MAX: u64 = 4096;

/// What an error of ringway's own may be long: the length that clients reserve for a message.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 511;

/// Bytes of a password. Servers take less; a file that has more is another one than was meant.
pub const SECRET_BYTES_MAX: usize = 1024;

/// A statement that is longer goes to the primary unread. What clients write by hand is far
/// shorter; what is longer is an INSERT of many rows.
pub const CLASSIFY_BYTES_MAX: usize = 64 * 1024;

/// What must be left of a row for it to be worth a pipe: less comes in one or two bursts.
pub const SPLICE_ROW_BYTES: usize = 256 * 1024;

/// What a session may have done to its state while its replica can still be replaced by another.
/// Applications set a handful of variables; what is longer is a loop.
pub const JOURNAL_BYTES_MAX: usize = 64 * 1024;

/// Texts of prepared statements that are kept for one session, to prepare them at a replica. More
/// statements than fit run on the primary.
pub const PREPARED_TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Types of the parameters of prepared statements that are kept for one session, to tell them to the
/// other server. They have two bytes each, and a name where the client may give them one: enough for
/// thousands of statements. One whose types do not fit runs on the primary.
pub const PREPARED_TYPES_BYTES_MAX: usize = 256 * 1024;

/// What is kept of the names of a session's own transactions. MySQL names each with 40 bytes; a
/// session that has written more since its last read is sent to the primary.
pub const GTID_BYTES_MAX: usize = 4096;

/// What a server may answer to a question of ringway's own: one column, one row.
pub const OWN_REPLY_BYTES_MAX: usize = 512;

/// What stays allocated, between two commands, of the memory for one that is held.
pub const HELD_BYTES_KEPT: usize = 512;

/// What one packet of a monitor's answer may be long. The longest value is a set of GTIDs, of which
/// servers with a long history have tens of kilobytes.
pub const MONITOR_PACKET_BYTES_MAX: u32 = 1024 * 1024;

/// Columns of a server's replication status at most: MySQL 9 has 62, MariaDB 11 has 65.
pub const MONITOR_COLUMNS_MAX: u64 = 256;

/// Rows of it at most, one for each source: MySQL and MariaDB allow 256 and 64.
pub const MONITOR_ROWS_MAX: usize = 256;

/// What is kept of one value of it: the beginning of an error's sentence.
pub const MONITOR_VALUE_BYTES_MAX: usize = 512;

/// Bytes that a monitor reads of its server's answers in one go: all of one, as a rule.
pub const MONITOR_READ_BYTES: usize = 16 * 1024;

/// How long a session that lost its replica waits before another one is opened for it.
pub const REPLICA_RETRY_US: u64 = 5_000_000;

/// What a ClientHello may take with all its records, as it comes in. Real ones are below 4 KiB; the
/// limit of rustls on handshake messages is the same.
pub const CLIENT_HELLO_BYTES_MAX: usize = 64 * 1024;

/// The longest name of a host: 255 bytes on the wire (RFC 1035), without the first and last length.
pub const SERVER_NAME_BYTES_MAX: usize = 253;

/// Plaintext of one TLS record at most (RFC 8446, section 5.1).
pub const TLS_PLAINTEXT_BYTES_MAX: usize = 1 << 14;

/// Plaintext of the first records after a pause: with its header such a record fits in what a new
/// connection may send at once even where segments are small, so its receiver need not wait a round
/// trip for its end.
pub const TLS_FIRST_RECORD_BYTES: usize = 4096;

/// How much is sent in such records: the initial window of ten segments (RFC 6928).
pub const TLS_FIRST_RECORDS_BYTES: u32 = 14 * 1024;

/// Room below which no further record is begun in a buffer: each costs its overhead, and an
/// encryption of its own.
pub const TLS_RECORD_WORTH_BYTES: usize = 512;

/// A pause after which a sender starts small again: TCP's own idle restart is of the same order.
pub const TLS_BURST_PAUSE: Duration = Duration::from_secs(1);

/// A TLS record at most, with its header and what encryption may add in TLS 1.2.
pub const TLS_RECORD_BYTES_MAX: usize = 5 + TLS_PLAINTEXT_BYTES_MAX + 2048;

/// Ciphertext a TLS session keeps because it is not of use yet: the records of one handshake
/// message, in whatever fragments, and the one that is arriving.
pub const HELD_CIPHERTEXT_BYTES_MAX: usize = CLIENT_HELLO_BYTES_MAX + TLS_RECORD_BYTES_MAX;

/// Handshake messages and the like that wait to be sent, beyond which a TLS session takes nothing
/// in. The longest flight, a chain of certificates, is a few kilobytes.
pub const PENDING_OUTPUT_BYTES: usize = 32 * 1024;

/// How long a key seals session tickets. It opens them for as long again, so a ticket is good for
/// six to twelve hours; what was recorded before cannot be opened by anybody later.
pub const TICKET_KEY_LIFETIME: Duration = Duration::from_secs(6 * 60 * 60);

/// Tickets sent after a full TLS 1.3 handshake. Clients use each once, and browsers open several
/// connections at a time.
pub const TICKETS_PER_SESSION: usize = 2;

/// Sessions with one server that a worker remembers to resume. Enough for every name it may have.
pub const TLS_SESSIONS_PER_SERVER: usize = 32;

/// What is kept of the subject of a certificate, for the log.
pub const SUBJECT_BYTES_MAX: usize = 512;

/// Bytes of a file with certificates, keys or revocation lists. The lists of large authorities have
/// some megabytes; a file that has more is another one than was meant.
pub const TLS_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long before its end a certificate is warned of, the longest first: what renews certificates
/// does so 30 days before, so the first warning says that it has not, and the last one that
/// somebody has to do it by hand.
pub const CERTIFICATE_WARNINGS: [Duration; 3] = [
    Duration::from_secs(30 * 24 * 60 * 60),
    Duration::from_secs(14 * 24 * 60 * 60),
    Duration::from_secs(3 * 24 * 60 * 60),
];

/// How long a certificate that was made at start is valid: longer than any process lives, as with
/// those that MySQL servers make.
pub const SELF_SIGNED_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How long before its start it is valid already, for clients whose clock is behind.
pub const SELF_SIGNED_BACKDATED: Duration = Duration::from_secs(24 * 60 * 60);

const _: () = assert!(
    RING_BUFFERS.is_power_of_two(),
    "a provided-buffer ring's size"
);
const _: () = assert!(
    BUFFER_BYTES < WIDE_BUFFER_BYTES && WIDE_BUFFER_BYTES < 1 << 16,
    "chunk offsets are 16 bits wide"
);
const _: () = assert!(BUFFERS_OFFERED_AT_FIRST <= RING_BUFFERS as usize);
const _: () = assert!(
    CHUNKS_PER_DIRECTION <= RING_BUFFERS as usize / 8,
    "no direction may hold more than an eighth of the pool"
);
const _: () = assert!(
    (CHUNKS_PER_DIRECTION as u32 / 2) * BUFFER_BYTES > RECEIVE_CAP_BYTES + BUFFER_BYTES,
    "a direction has room for all that one receive may bring"
);
const _: () = assert!(
    SESSIONS_MAX <= 1 << SLOT_BITS,
    "a token can name every session"
);
const _: () = assert!(COMPLETION_ENTRIES >= 4 * RING_BUFFERS as u32);
const _: () = assert!(COPY_BELOW_BYTES < SPLICE_BURST_BYTES);
const _: () = assert!(GREETING_BYTES_MAX < LOGIN_PACKET_BYTES_MAX);
const _: () = assert!(
    OK_PACKET_BYTES_MAX >= 32,
    "the numbers of an OK packet are always kept"
);
