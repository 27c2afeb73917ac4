"""What all the Python clients do, whatever the library: PEP 249 is all it takes."""

import hashlib


def run(connection, table, marker="%s", prepared=None, large_mib=17):
    """Text protocol by `connection.cursor()`, binary by `prepared()` if there is such a cursor.
    A packet has 16 MiB at most, so that a value of 17 takes two."""
    connection.autocommit(True) if callable(connection.autocommit) else setattr(
        connection, "autocommit", True
    )
    text = connection.cursor()

    def ask(cursor, sql, parameters=()):
        cursor.execute(sql, parameters) if parameters else cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else cursor.rowcount

    def say(name, value):
        print(name, value, flush=True)

    def at(name, cursor):
        say("at", f"{name}: {ask(cursor, 'SELECT @@server_id')[0][0]}")

    at("after the login", text)
    ask(text, "SET @a = 5")
    say("variable", ask(text, "SELECT @a + 1"))
    ask(text, f"DROP TABLE IF EXISTS {table}")
    ask(
        text,
        f"CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, v LONGTEXT, d DECIMAL(9, 2),"
        " day DATE, bytes BLOB) CHARACTER SET utf8mb4",
    )

    for kind, cursor in [("text", text), ("binary", prepared() if prepared else None)]:
        if cursor is None:
            continue
        insert = f"INSERT INTO {table} (v, d, day, bytes) VALUES ({', '.join([marker] * 4)})"
        rows = [("one", "1.50", "2024-02-29", b"\x00\xff'\\"), ("zwölf \U0001f600", None, None, b"")]
        for row in rows:
            say(kind + " inserted", ask(cursor, insert, row))
            say(kind + " id", cursor.lastrowid)
        read = f"SELECT v, d, day, bytes FROM {table} WHERE id <= {marker} ORDER BY id"
        for bound in (1, 9):
            say(kind + " rows", ask(cursor, read, (bound,)))
        at(kind, cursor)

        ask(text, "BEGIN")
        ask(cursor, insert, ("gone", None, None, None))
        say(kind + " in transaction", ask(cursor, f"SELECT COUNT(*) FROM {table}"))
        at(kind + " in transaction", cursor)
        connection.rollback()
        say(kind + " rolled back", ask(cursor, f"SELECT COUNT(*) FROM {table}"))

        large = "0123456789abcdef" * (large_mib * 65536)
        ask(cursor, insert, (large, None, None, None))
        stored = ask(cursor, f"SELECT v FROM {table} WHERE LENGTH(v) > {marker}", (1000,))[0][0]
        stored = stored if isinstance(stored, str) else stored.decode()
        say(kind + " large", [len(stored), hashlib.sha1(stored.encode()).hexdigest()])
        ask(cursor, f"DELETE FROM {table} WHERE id > {marker}", (0,))
        try:
            ask(cursor, f"SELECT nothing FROM {table}")
        except Exception as error:
            say(kind + " error", error.args[0] if isinstance(error.args[0], int) else error.errno)
        at(kind + " at the end", text)
    connection.close()
