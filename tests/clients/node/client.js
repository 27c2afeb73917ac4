// mysql2: both protocols, by `query` and `execute`.
'use strict';

const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const path = require('node:path');

// The library lies with what was built, and not beside this file.
const mysql = require(path.join(process.argv[4], 'mysql2/promise'));

const [port, table] = [Number(process.argv[2]), process.argv[3]];
const authority = process.argv[5];
const largeMib = authority ? 1 : 17;
const tls = authority && { ssl: { ca: readFileSync(authority), verifyIdentity: true } };
const say = (name, value) => console.log(name, JSON.stringify(value));

async function main() {
  const connection = await mysql.createConnection({
    host: '127.0.0.1', port, user: 'app', password: 'secret', database: 'shop',
    charset: 'utf8mb4', dateStrings: true, rowsAsArray: true,
    ...tls,
  });
  const at = async (name, ask) =>
    console.log(`at ${name}: ${(await ask('SELECT @@server_id'))[0][0]}`);
  const text = async (...words) => (await connection.query(...words))[0];
  const binary = async (...words) => (await connection.execute(...words))[0];

  await at('after the login', text);
  await text('SET @a = 5');
  say('variable', await text('SELECT @a + 1'));
  await text(`DROP TABLE IF EXISTS ${table}`);
  await text(`CREATE TABLE ${table} (id INT AUTO_INCREMENT PRIMARY KEY, v LONGTEXT,
    d DECIMAL(9, 2), day DATE, bytes BLOB) CHARACTER SET utf8mb4`);

  for (const [kind, ask] of Object.entries({ text, binary })) {
    const insert = `INSERT INTO ${table} (v, d, day, bytes) VALUES (?, ?, ?, ?)`;
    const rows = [
      ['one', '1.50', '2024-02-29', Buffer.from([0, 255, 39, 92])],
      ['zwölf \u{1f600}', null, null, Buffer.alloc(0)],
    ];
    for (const row of rows) {
      const done = await ask(insert, row);
      say(`${kind} inserted`, [done.affectedRows, done.insertId]);
    }
    for (const bound of [1, 9]) {
      const read = `SELECT v, d, day, bytes FROM ${table} WHERE id <= ? ORDER BY id`;
      say(`${kind} rows`, await ask(read, [bound]));
    }
    await at(kind, ask);

    await connection.beginTransaction();
    await ask(insert, ['gone', null, null, null]);
    say(`${kind} in transaction`, await ask(`SELECT COUNT(*) FROM ${table}`));
    await at(`${kind} in transaction`, ask);
    await connection.rollback();
    say(`${kind} rolled back`, await ask(`SELECT COUNT(*) FROM ${table}`));

    await ask(insert, ['0123456789abcdef'.repeat(largeMib * 65536), null, null, null]);
    const [[stored]] = await ask(`SELECT v FROM ${table} WHERE LENGTH(v) > ?`, [1000]);
    say(`${kind} large`, [stored.length, createHash('sha1').update(stored).digest('hex')]);
    await ask(`DELETE FROM ${table} WHERE id > ?`, [0]);
    await ask(`SELECT nothing FROM ${table}`).catch((error) => say(`${kind} error`, error.errno));
    await at(`${kind} at the end`, text);
  }

  // Commands that are sent before the answers to those before have come.
  const numbers = Array.from({ length: 20 }, (_, number) => number);
  const answers = await Promise.all(numbers.map((number) => text(`SELECT ${number}`)));
  say('pipelined', answers);
  await connection.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
