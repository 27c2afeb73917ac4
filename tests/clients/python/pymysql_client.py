"""PyMySQL: the text protocol."""

import sys

import pymysql

import script

port, table = int(sys.argv[1]), sys.argv[2]
connection = pymysql.connect(
    host="127.0.0.1", port=port, user="app", password="secret", database="shop", charset="utf8mb4"
)
script.run(connection, table)
