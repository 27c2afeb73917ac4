//! Packets of a login: from the documentation of the protocol for MySQL 8.4, recorded for MariaDB
//! 10.11 (its server, and its command line as the client).

pub(crate) const GREETING_MYSQL: &[u8] = b"\x0a8.4.3\0\x0a\0\0\0A1b2C3d4\0\xff\xff\xff\x02\0\
    \xff\xdf\x15\0\0\0\0\0\0\0\0\0\0E5f6G7h8I9j0\0caching_sha2_password\0";

pub(crate) const GREETING_MARIADB: &[u8] = b"\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\0\x07\0\0\0\
    qZO[\\<W\"\0\xfe\xf7\x08\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0@^7PiBM;!0o\x20\0\
    mysql_native_password\0";

pub(crate) const RESPONSE_MYSQL: &[u8] = b"\x8d\xa6\xff\x19\0\0\0\x01\xff\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0app\0\
    \x20abcdefghijklmnopqrstuvwxyz012345shop\0caching_sha2_password\0\
    \x16\x0c_client_name\x08libmysql";

pub(crate) const RESPONSE_MARIADB: &[u8] = b"\x8c\xa2\xbf\0\0\0\0\x01\x2d\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x1d\0\0\0app\0\
    \x14\x4b\xee\xa7\xdcb\xb5\x92\xf6\x0d\xea\xfa\xad\xfd\x1d\xbbh\x87\x13_\x99shop\0\
    mysql_native_password\0\
    \x7f\x03_os\x05Linux\x0c_client_name\x0alibmariadb\x04_pid\x0512944\
    \x0f_client_version\x063.3.20\x09_platform\x06x86_64\x0cprogram_name\x05mysql\
    \x0c_server_host\x09127.0.0.1";

pub(crate) const SSL_REQUEST: &[u8] = b"\x8d\xae\xff\x19\0\0\0\x01\xff\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
