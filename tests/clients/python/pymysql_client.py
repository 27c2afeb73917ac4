"""PyMySQL: the text protocol."""

import sys

import pymysql

import script

port, table = int(sys.argv[1]), sys.argv[2]
checked = {"ssl_verify_cert": True, "ssl_verify_identity": True}
tls = dict(checked, ssl_ca=sys.argv[3]) if len(sys.argv) > 3 else {}
connection = pymysql.connect(
    host="127.0.0.1",
    port=port,
    user="app",
    password="secret",
    database="shop",
    charset="utf8mb4",
    **tls,
)
script.run(connection, table, large_mib=1 if tls else 17)
