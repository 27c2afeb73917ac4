//! The packets of a login: greeting, handshake response, `SSLRequest`, `AuthSwitchRequest`. Each is
//! read, reduced to what ringway can keep up, and written again.

use thiserror::Error;
use zeroize::Zeroizing;

use super::auth::{Plugin, SCRAMBLE_BYTES, Scramble};
use super::capabilities::Capabilities;
use super::cursor::{Cursor, Flaw, Malformed};
use super::packet::{EOF, HEADER_BYTES, Header, PacketWriter, Status, write_packet};
use crate::limits::GREETING_BYTES_MAX;

/// `auth_plugin_data_len` of a greeting: the scramble and its NUL.
const AUTH_DATA_BYTES: u8 = 21;

/// Bytes of a handshake response in front of the user's name, and of a whole `SSLRequest`.
const FIXED_BYTES: usize = 32;

/// `HandshakeV10`: a server's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The server's version as it writes it.
    pub version: Vec<u8>,
    /// The number by which `KILL` knows the connection.
    pub thread_id: u32,
    /// What is to be signed.
    pub scramble: Scramble,
    /// What the server can do.
    pub capabilities: Capabilities,
    /// Low byte of the number of its collation.
    pub charset: u8,
    /// Its status flags.
    pub status: Status,
    /// The name of its default plugin; empty without `PLUGIN_AUTH`.
    pub plugin: Vec<u8>,
}

impl Greeting {
    /// Reads the payload of a greeting.
    ///
    /// # Errors
    /// When it is no greeting of protocol version 10, larger than real ones are, or without a
    /// scramble of 20 bytes.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if payload.len() > usize::try_from(GREETING_BYTES_MAX).unwrap_or(usize::MAX) {
            return Err(Malformed::new("HandshakeV10", Flaw::TooLarge));
        }
        if cursor.u8("HandshakeV10.protocol_version")? != 10 {
            let field = "HandshakeV10.protocol_version";
            return Err(Malformed::new(field, Flaw::Unexpected));
        }
        let version = cursor.nul_bytes("HandshakeV10.server_version")?.to_vec();
        let thread_id = cursor.u32("HandshakeV10.thread_id")?;
        let first: [u8; 8] = cursor.array("HandshakeV10.auth_plugin_data_part_1")?;
        cursor.u8("HandshakeV10.filler")?;
        let low = cursor.u16("HandshakeV10.capability_flags_1")?;
        let charset = cursor.u8("HandshakeV10.character_set")?;
        let status = Status(cursor.u16("HandshakeV10.status_flags")?);
        let high = cursor.u16("HandshakeV10.capability_flags_2")?;
        let auth_data_len = cursor.u8("HandshakeV10.auth_plugin_data_len")?;
        cursor.bytes(6, "HandshakeV10.reserved")?;
        let mariadb = cursor.u32("HandshakeV10.reserved")?;
        let capabilities =
            Capabilities::new(u32::from(low) | u32::from(high).wrapping_shl(16), mariadb);
        require(capabilities, "HandshakeV10.capability_flags")?;
        let named = capabilities.contains(Capabilities::PLUGIN_AUTH);
        if named && auth_data_len != AUTH_DATA_BYTES {
            let field = "HandshakeV10.auth_plugin_data_len";
            return Err(Malformed::new(field, Flaw::Unexpected));
        }
        let second: [u8; 12] = cursor.array("HandshakeV10.auth_plugin_data_part_2")?;
        if cursor.u8("HandshakeV10.auth_plugin_data_part_2")? != 0 {
            let field = "HandshakeV10.auth_plugin_data_part_2";
            return Err(Malformed::new(field, Flaw::Unterminated));
        }
        let plugin = match named {
            true => cursor.nul_bytes("HandshakeV10.auth_plugin_name")?.to_vec(),
            false => Vec::new(),
        };
        Ok(Self {
            version,
            thread_id,
            scramble: joined(&first, &second),
            capabilities,
            charset,
            status,
            plugin,
        })
    }

    /// The greeting that a client gets instead of the server's: without what ringway does not
    /// offer, and perhaps with another plugin in front.
    #[must_use]
    pub fn masked(&self, withheld: Capabilities, plugin: Option<Plugin>) -> Self {
        let mut masked = self.clone();
        masked.capabilities = masked.capabilities.without(withheld);
        if let Some(plugin) = plugin
            && masked.capabilities.contains(Capabilities::PLUGIN_AUTH)
        {
            masked.plugin = plugin.name().to_vec();
        }
        masked
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>, sequence: u8) {
        let [low_1, low_2, high_1, high_2] = self.capabilities.mysql().to_le_bytes();
        let named = self.capabilities.contains(Capabilities::PLUGIN_AUTH);
        let (first, second) = self.scramble.0.split_at(8);
        let mut packet = PacketWriter::new(out, sequence);
        packet.u8(10);
        packet.nul_bytes(&self.version);
        packet.u32(self.thread_id);
        packet.bytes(first);
        packet.u8(0);
        packet.bytes(&[low_1, low_2]);
        packet.u8(self.charset);
        packet.u16(self.status.0);
        packet.bytes(&[high_1, high_2]);
        packet.u8(if named { AUTH_DATA_BYTES } else { 0 });
        packet.zeros::<6>();
        packet.u32(self.capabilities.mariadb());
        packet.nul_bytes(second);
        if named {
            packet.nul_bytes(&self.plugin);
        }
        packet.finish();
    }
}

fn joined(first: &[u8; 8], second: &[u8; 12]) -> Scramble {
    let mut scramble = [0; SCRAMBLE_BYTES];
    for (to, from) in scramble.iter_mut().zip(first.iter().chain(second)) {
        *to = *from;
    }
    Scramble(scramble)
}

/// Whether this is a server or client of the protocol since MySQL 4.1.
fn require(capabilities: Capabilities, field: &'static str) -> Result<(), Malformed> {
    let needed = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
    match capabilities.contains(needed) {
        true => Ok(()),
        false => Err(Malformed::new(field, Flaw::Unexpected)),
    }
}

/// A client's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPacket {
    /// `SSLRequest`: TLS comes next, then the response.
    SslRequest,
    /// `HandshakeResponse41`.
    Response(Response),
}

/// Why a client's first packet is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FirstPacketError {
    /// `HandshakeResponse320`, of clients before MySQL 4.1.
    #[error("the client speaks the protocol from before MySQL 4.1")]
    TooOld,
    /// A field that cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl FirstPacket {
    /// Reads the payload of a client's first packet.
    ///
    /// # Errors
    /// When it is neither of the two.
    pub fn parse(payload: &[u8]) -> Result<Self, FirstPacketError> {
        let low = Cursor::new(payload).u16("HandshakeResponse41.capability_flags")?;
        let low = Capabilities::new(u32::from(low), 0);
        if !low.contains(Capabilities::PROTOCOL_41) {
            return Err(FirstPacketError::TooOld);
        }
        if payload.len() == FIXED_BYTES && low.contains(Capabilities::SSL) {
            return Ok(Self::SslRequest);
        }
        Response::parse(payload)
            .map(Self::Response)
            .map_err(FirstPacketError::Malformed)
    }
}

/// Why there is no TLS with a server that is to be spoken to over TLS.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoTls {
    /// Its greeting does not offer it.
    #[error("the server does not offer TLS")]
    NotOffered,
    /// So many bytes came behind its greeting. They would go on as if TLS had protected them (B-1).
    #[error("the server has sent {0} bytes more than its greeting before there was TLS")]
    SpokeEarly(usize),
}

/// A response to a server that is to be asked for TLS first.
pub struct Upgraded {
    /// The `SSLRequest` packet, in plain text. Its flags and character set are those of the
    /// response: MySQL does not read them a second time.
    pub request: Vec<u8>,
    /// The packet of the response, for TLS. A password may be in it.
    pub response: Zeroizing<Vec<u8>>,
}

/// Makes a request for TLS of the packet of a `HandshakeResponse41`, and gives it the next number.
/// `None`: it is no such packet.
pub fn upgrade(mut response: Zeroizing<Vec<u8>>) -> Option<Upgraded> {
    let (header, payload) = response.split_first_chunk_mut::<HEADER_BYTES>()?;
    let header = Header::parse(*header);
    let flags = payload.first_chunk_mut::<4>()?;
    let with_tls = Capabilities::new(u32::from_le_bytes(*flags), 0) | Capabilities::SSL;
    *flags = with_tls.mysql().to_le_bytes();
    let mut request = Vec::new();
    write_packet(&mut request, header.sequence, payload.get(..FIXED_BYTES)?);
    let number = response.get_mut(HEADER_BYTES.saturating_sub(1))?;
    *number = header.sequence.wrapping_add(1);
    Some(Upgraded { request, response })
}

/// `HandshakeResponse41`: who the client is and what it wants.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// What the client uses of what it was offered.
    pub capabilities: Capabilities,
    /// The longest packet the client takes.
    pub packet_bytes_max: u32,
    /// Low byte of the number of its collation.
    pub charset: u8,
    /// The account's name.
    pub user: Vec<u8>,
    /// Its signature, or whatever its plugin sends.
    pub token: Vec<u8>,
    /// The database to begin in.
    pub database: Option<Vec<u8>>,
    /// The plugin that made `token`.
    pub plugin: Option<Vec<u8>>,
    /// The connection attributes: names and values, each with its length.
    pub attributes: Option<Vec<u8>>,
    /// The level of zstd compression, which is read and not passed on.
    pub zstd_level: Option<u8>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("capabilities", &self.capabilities)
            .field("user", &String::from_utf8_lossy(&self.user))
            .finish_non_exhaustive()
    }
}

/// Whether a client can speak in a character set, by the id of its collation. It cannot in those
/// that do not write ASCII in single bytes: filename, ucs2, utf16, utf16le, utf32.
const fn is_client_charset(collation: u8) -> bool {
    !matches!(
        collation,
        17 | 35 | 54..=56 | 60..=62 | 90 | 101..=124 | 128..=151 | 159..=183
    )
}

/// Whether every server can read a name in a character set, by the id of its collation. All can
/// read ASCII, and what UTF-8 and latin1 have for the characters that names may have; in others
/// there are bytes that are none.
fn is_readable(name: &[u8], collation: u8) -> bool {
    let is_latin1 = matches!(collation, 5 | 8 | 15 | 31 | 47..=49 | 94);
    let is_utf8 = matches!(collation, 33 | 45 | 46 | 76 | 83 | 192..=247 | 255);
    let in_utf8 = || {
        let text = std::str::from_utf8(name);
        text.is_ok_and(|text| text.chars().all(|c| c.len_utf8() < 4))
    };
    name.is_ascii() || is_latin1 || (is_utf8 && in_utf8())
}

impl Response {
    fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let mysql = cursor.u32("HandshakeResponse41.capability_flags")?;
        let packet_bytes_max = cursor.u32("HandshakeResponse41.max_packet_size")?;
        let charset = cursor.u8("HandshakeResponse41.character_set")?;
        cursor.bytes(19, "HandshakeResponse41.filler")?;
        let mariadb = cursor.u32("HandshakeResponse41.filler")?;
        let capabilities = Capabilities::new(mysql, mariadb);
        require(capabilities, "HandshakeResponse41.capability_flags")?;
        let user = cursor.nul_bytes("HandshakeResponse41.username")?.to_vec();
        let token = match capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
            true => cursor.lenenc_bytes("HandshakeResponse41.auth_response")?,
            false => {
                let len = cursor.u8("HandshakeResponse41.auth_response_length")?;
                cursor.bytes(u64::from(len), "HandshakeResponse41.auth_response")?
            }
        };
        let mut response = Self {
            capabilities,
            packet_bytes_max,
            charset,
            user,
            token: token.to_vec(),
            database: None,
            plugin: None,
            attributes: None,
            zstd_level: None,
        };
        response.parse_optional(cursor)?;
        Ok(response)
    }

    /// The fields that flags announce. Clients are known to leave the last NUL out, or an announced
    /// last field altogether.
    fn parse_optional(&mut self, mut cursor: Cursor<'_>) -> Result<(), Malformed> {
        if self.capabilities.contains(Capabilities::CONNECT_WITH_DB) {
            self.database = Some(cursor.nul_bytes_or_rest().to_vec());
        }
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            self.plugin = Some(cursor.nul_bytes_or_rest().to_vec());
        }
        if self.capabilities.contains(Capabilities::CONNECT_ATTRS) && !cursor.is_empty() {
            let attributes = cursor.lenenc_bytes("HandshakeResponse41.attributes")?;
            self.attributes = Some(attributes.to_vec());
        }
        if self.capabilities.contains(Capabilities::ZSTD) && !cursor.is_empty() {
            let level = cursor.u8("HandshakeResponse41.zstd_compression_level")?;
            self.zstd_level = Some(level);
        }
        Ok(())
    }

    /// Holds what the client says to what a server takes for a login, right or wrong. A server
    /// counts everything else against the address it comes from, and blocks that in the end.
    ///
    /// # Errors
    /// The field that has such a value.
    pub fn check(&self) -> Result<(), Malformed> {
        let flawed = |field| Err(Malformed::new(field, Flaw::Unexpected));
        let schema = self.database.as_deref().unwrap_or_default();
        if !is_client_charset(self.charset) {
            return flawed("HandshakeResponse41.character_set");
        }
        if !is_readable(schema, self.charset) {
            return flawed("HandshakeResponse41.database");
        }
        match self.known_plugin() {
            Some(plugin) if !plugin.fits(&self.token) => {
                flawed("HandshakeResponse41.auth_response")
            }
            _ => Ok(()),
        }
    }

    /// The plugin that made the token, when it is one that ringway knows. Clients that name none
    /// sign for `mysql_native_password`.
    pub fn known_plugin(&self) -> Option<Plugin> {
        match &self.plugin {
            Some(name) => Plugin::from_name(name),
            None => Some(Plugin::Native),
        }
    }

    /// The value of a connection attribute.
    pub fn attribute(&self, name: &[u8]) -> Option<&[u8]> {
        let mut cursor = Cursor::new(self.attributes.as_deref()?);
        loop {
            let key = cursor
                .lenenc_bytes("HandshakeResponse41.attribute_name")
                .ok()?;
            let value = cursor
                .lenenc_bytes("HandshakeResponse41.attribute_value")
                .ok()?;
            if key == name {
                return Some(value);
            }
        }
    }

    /// Appends the packet for a server that offers `offered`: the client's own flags as far as the
    /// server has them, and this signature.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        sequence: u8,
        offered: Capabilities,
        plugin: Option<&[u8]>,
        token: &[u8],
    ) {
        let mut capabilities = self.capabilities.and(offered);
        if self.attributes.is_none() {
            capabilities = capabilities.without(Capabilities::CONNECT_ATTRS);
        }
        if token.len() > 250 {
            capabilities = capabilities | offered.and(Capabilities::PLUGIN_AUTH_LENENC);
        }
        let mut packet = PacketWriter::new(out, sequence);
        packet.u32(capabilities.mysql());
        packet.u32(self.packet_bytes_max);
        packet.u8(self.charset);
        packet.zeros::<19>();
        packet.u32(capabilities.mariadb());
        packet.nul_bytes(&self.user);
        if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
            packet.lenenc_bytes(token);
        } else {
            let token = token.get(..usize::from(u8::MAX)).unwrap_or(token);
            packet.u8(u8::try_from(token.len()).unwrap_or(u8::MAX));
            packet.bytes(token);
        }
        if capabilities.contains(Capabilities::CONNECT_WITH_DB) {
            packet.nul_bytes(self.database.as_deref().unwrap_or_default());
        }
        if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            packet.nul_bytes(plugin.unwrap_or_default());
        }
        if let Some(attributes) = &self.attributes
            && capabilities.contains(Capabilities::CONNECT_ATTRS)
        {
            packet.lenenc_bytes(attributes);
        }
        packet.finish();
    }
}

/// `AuthSwitchRequest`: the server wants another signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthSwitch<'a> {
    /// The name of the plugin that is to make it.
    pub plugin: &'a [u8],
    /// What that plugin is to sign.
    pub data: &'a [u8],
}

impl<'a> AuthSwitch<'a> {
    /// Reads the payload of an `AuthSwitchRequest`. A packet of one byte, which asks for the
    /// passwords of MySQL 3, is refused.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8("AuthSwitchRequest.header")? != EOF {
            let field = "AuthSwitchRequest.header";
            return Err(Malformed::new(field, Flaw::Unexpected));
        }
        let plugin = cursor.nul_bytes("AuthSwitchRequest.plugin_name")?;
        let data = cursor.take_rest();
        Ok(Self { plugin, data })
    }

    /// The plugin and the scramble, when they are ones that ringway knows.
    pub fn known(&self) -> Option<(Plugin, Scramble)> {
        Plugin::from_name(self.plugin).zip(Scramble::from_switch(self.data))
    }

    /// Appends an `AuthSwitchRequest` of ringway's own.
    pub fn write(out: &mut Vec<u8>, sequence: u8, plugin: Plugin, scramble: &Scramble) {
        let mut packet = PacketWriter::new(out, sequence);
        packet.u8(EOF);
        packet.nul_bytes(plugin.name());
        packet.nul_bytes(&scramble.0);
        packet.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::packet::HEADER_BYTES;
    use crate::mysql::tests::samples::{
        GREETING_MARIADB, GREETING_MYSQL, RESPONSE_MARIADB, RESPONSE_MYSQL, SSL_REQUEST,
    };

    fn response(payload: &[u8]) -> Response {
        match FirstPacket::parse(payload).unwrap() {
            FirstPacket::Response(response) => response,
            FirstPacket::SslRequest => panic!("no response"),
        }
    }

    #[test]
    fn the_greeting_of_mysql_is_read() {
        let greeting = Greeting::parse(GREETING_MYSQL).unwrap();
        assert_eq!(greeting.version, b"8.4.3");
        assert_eq!(greeting.thread_id, 10);
        assert_eq!(greeting.plugin, b"caching_sha2_password");
        assert_eq!(greeting.charset, 255);
        assert!(greeting.status.contains(Status::AUTOCOMMIT));
        assert!(!greeting.capabilities.are_mariadb());
        assert!(greeting.capabilities.contains(Capabilities::DEPRECATE_EOF));
        assert_eq!(&greeting.scramble.0, b"A1b2C3d4E5f6G7h8I9j0");
    }

    #[test]
    fn the_greeting_of_mariadb_has_extended_flags() {
        let greeting = Greeting::parse(GREETING_MARIADB).unwrap();
        assert!(greeting.version.ends_with(b"-MariaDB-0+deb12u1"));
        assert!(greeting.capabilities.are_mariadb());
        assert!(
            greeting
                .capabilities
                .contains(Capabilities::MARIADB_CACHE_METADATA)
        );
        assert_eq!(greeting.plugin, b"mysql_native_password");
    }

    #[test]
    fn a_greeting_is_written_as_it_was_read() {
        for payload in [GREETING_MYSQL, GREETING_MARIADB] {
            let mut out = Vec::new();
            Greeting::parse(payload).unwrap().write(&mut out, 0);
            assert_eq!(&out[HEADER_BYTES..], payload);
        }
    }

    #[test]
    fn what_ringway_cannot_keep_up_is_taken_out_of_a_greeting() {
        let withheld = Capabilities::NEVER | Capabilities::SSL | Capabilities::LOCAL_FILES;
        let greeting = Greeting::parse(GREETING_MYSQL).unwrap();
        assert!(
            greeting
                .capabilities
                .contains(Capabilities::LOCAL_FILES | Capabilities::SSL)
        );
        let masked = greeting.masked(withheld, Some(Plugin::Native));
        assert!(!masked.capabilities.intersects(withheld));
        assert_eq!(masked.plugin, b"mysql_native_password");
        assert_eq!(masked.scramble, greeting.scramble);
        assert_eq!(greeting.masked(withheld, None).plugin, greeting.plugin);
    }

    #[test]
    fn b_3_every_truncation_of_a_greeting_is_refused() {
        for payload in [GREETING_MYSQL, GREETING_MARIADB] {
            for len in 0..payload.len() {
                assert!(Greeting::parse(&payload[..len]).is_err(), "{len} bytes");
            }
        }
    }

    #[test]
    fn b_13_a_hostile_greeting_is_refused() {
        let mut endless = vec![10];
        endless.extend([b'x'; 2000]);
        let too_large = Malformed::new("HandshakeV10", Flaw::TooLarge);
        assert_eq!(Greeting::parse(&endless), Err(too_large));
        assert_eq!(
            Greeting::parse(&endless[..900]).unwrap_err().flaw,
            Flaw::Unterminated
        );
        let mut unknown = GREETING_MYSQL.to_vec();
        unknown[0] = 9;
        assert_eq!(
            Greeting::parse(&unknown).unwrap_err().flaw,
            Flaw::Unexpected
        );
        assert!(Greeting::parse(&[]).is_err());

        let version_end = GREETING_MYSQL.iter().position(|&byte| byte == 0).unwrap();
        for len in [0, 8, 20, 22, 255] {
            let mut other = GREETING_MYSQL.to_vec();
            other[version_end + 21] = len;
            let error = Greeting::parse(&other).unwrap_err();
            assert_eq!(error.field, "HandshakeV10.auth_plugin_data_len");
        }
    }

    #[test]
    fn the_response_of_a_client_is_read() {
        let mysql = response(RESPONSE_MYSQL);
        assert_eq!(mysql.user, b"app");
        assert_eq!(mysql.database.as_deref(), Some(&b"shop"[..]));
        assert_eq!(mysql.known_plugin(), Some(Plugin::Sha2));
        assert_eq!(mysql.token.len(), 32);
        assert_eq!(mysql.attribute(b"_client_name"), Some(&b"libmysql"[..]));
        assert_eq!(mysql.attribute(b"_nothing"), None);

        let mariadb = response(RESPONSE_MARIADB);
        assert!(mariadb.capabilities.are_mariadb());
        assert_ne!(mariadb.capabilities.mariadb(), 0);
        assert_eq!(mariadb.known_plugin(), Some(Plugin::Native));
        assert_eq!(mariadb.attribute(b"_client_name"), Some(&b"libmariadb"[..]));
    }

    #[test]
    fn a_response_is_written_as_it_was_read() {
        for payload in [RESPONSE_MYSQL, RESPONSE_MARIADB] {
            let read = response(payload);
            let mut out = Vec::new();
            let plugin = read.plugin.clone();
            read.write(
                &mut out,
                1,
                read.capabilities,
                plugin.as_deref(),
                &read.token,
            );
            assert_eq!(&out[HEADER_BYTES..], payload);
        }
    }

    #[test]
    fn a_response_is_reduced_to_what_a_server_offers() {
        let read = response(RESPONSE_MYSQL);
        let offered = Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::MYSQL
            | Capabilities::PLUGIN_AUTH;
        let mut out = Vec::new();
        read.write(
            &mut out,
            1,
            offered,
            Some(b"mysql_native_password"),
            &[7; 20],
        );
        let reduced = response(&out[HEADER_BYTES..]);
        assert_eq!(reduced.capabilities, offered);
        assert_eq!(reduced.user, read.user);
        assert_eq!(reduced.token, [7; 20]);
        assert_eq!(
            reduced.plugin.as_deref(),
            Some(&b"mysql_native_password"[..])
        );
        assert_eq!((reduced.database, reduced.attributes), (None, None));
    }

    #[test]
    fn b_3_every_truncation_of_a_response_is_refused_or_harmless() {
        for payload in [RESPONSE_MYSQL, RESPONSE_MARIADB] {
            let whole = response(payload);
            for len in 0..payload.len() {
                match FirstPacket::parse(&payload[..len]) {
                    Ok(FirstPacket::Response(cut)) => {
                        assert_eq!((&cut.user, &cut.token), (&whole.user, &whole.token));
                        assert!(cut.attributes.is_none());
                    }
                    Ok(FirstPacket::SslRequest) => assert_eq!(len, FIXED_BYTES),
                    Err(_) => assert!(len < payload.len()),
                }
            }
        }
    }

    #[test]
    fn a_response_becomes_a_request_for_tls_and_what_follows_it() {
        let mut packet = Vec::new();
        write_packet(&mut packet, 1, RESPONSE_MYSQL);
        let upgraded = upgrade(packet.into()).expect("a response");
        let (header, request) = upgraded.request.split_at(HEADER_BYTES);
        assert_eq!(header, [32, 0, 0, 1]);
        assert_eq!(FirstPacket::parse(request), Ok(FirstPacket::SslRequest));
        assert_eq!(upgraded.response[3], 2);
        let response = &upgraded.response[HEADER_BYTES..];
        assert_eq!(response[..32], *request);
        assert_eq!(response[32..], RESPONSE_MYSQL[32..]);
        for len in 0..HEADER_BYTES + FIXED_BYTES {
            assert!(upgrade(vec![0; len].into()).is_none());
        }
    }

    #[test]
    fn a_request_for_tls_is_recognised_by_its_length() {
        assert_eq!(FirstPacket::parse(SSL_REQUEST), Ok(FirstPacket::SslRequest));
        let mut longer = SSL_REQUEST.to_vec();
        longer.extend(b"app\0\0");
        assert!(matches!(
            FirstPacket::parse(&longer),
            Ok(FirstPacket::Response(_)) | Err(FirstPacketError::Malformed(_))
        ));
    }

    #[test]
    fn clients_from_before_4_1_are_told_apart() {
        let old = FirstPacket::parse(b"\x85\x24\x00\x00\x00root\0");
        assert_eq!(old, Err(FirstPacketError::TooOld));
    }

    #[test]
    fn a_switch_is_read_and_written() {
        let scramble = Scramble(*b"abcdefghijklmnopqrst");
        let mut out = Vec::new();
        AuthSwitch::write(&mut out, 2, Plugin::Native, &scramble);
        let payload = &out[HEADER_BYTES..];
        assert_eq!(
            payload,
            b"\xfemysql_native_password\0abcdefghijklmnopqrst\0"
        );
        let switch = AuthSwitch::parse(payload).unwrap();
        assert_eq!(switch.known(), Some((Plugin::Native, scramble)));
        for len in 0..payload.len() {
            let known = AuthSwitch::parse(&payload[..len])
                .ok()
                .and_then(|s| s.known());
            assert_eq!(known, None, "{len} bytes");
        }
        let other = AuthSwitch::parse(b"\xfeclient_ed25519\0xyz").unwrap();
        assert_eq!(
            (other.plugin, other.known()),
            (&b"client_ed25519"[..], None)
        );
    }

    #[test]
    fn b_8_lengths_inside_a_response_cannot_wrap() {
        let fixed = &RESPONSE_MYSQL[..FIXED_BYTES];
        for length in [
            &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF][..],
            &[0xFD, 0xFF, 0xFF, 0xFF],
            &[0xFC, 0xFF, 0xFF],
            &[0xFB],
            &[0xFF],
        ] {
            let packet = [fixed, b"app\0", length, b"rest"].concat();
            let refused = FirstPacket::parse(&packet).unwrap_err();
            assert!(matches!(refused, FirstPacketError::Malformed(_)));
            let packet = [fixed, b"app\0\0shop\0plugin\0", length, b"rest"].concat();
            assert!(FirstPacket::parse(&packet).is_err());
        }
    }
}
