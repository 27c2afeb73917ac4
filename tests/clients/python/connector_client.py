"""MySQL Connector/Python in pure Python: both protocols."""

import sys

import mysql.connector

import script

port, table = int(sys.argv[1]), sys.argv[2]
connection = mysql.connector.connect(
    host="127.0.0.1",
    port=port,
    user="app",
    password="secret",
    database="shop",
    charset="utf8mb4",
    collation="utf8mb4_general_ci",
    use_pure=True,
    ssl_disabled=True,
)
script.run(connection, table, prepared=lambda: connection.cursor(prepared=True))
