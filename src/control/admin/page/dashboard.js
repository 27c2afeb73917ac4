// Shows /api/status and asks again every two seconds. Text only ever goes in as text: nothing that
// a configuration or a server says can become markup.
'use strict';

const REFRESH_MS = 2000;
const HISTORY = 60;

let before = null;
const history = new Map();

function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  if (options.class) node.className = options.class;
  if (options.title) node.title = options.title;
  node.append(...children.filter((child) => child !== null && child !== undefined).map(
    (child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return node;
}

const show = (id, ...nodes) => document.getElementById(id).replaceChildren(...nodes);

function scaled(value, step, units) {
  let unit = 0;
  while (value >= step && unit < units.length - 1) { value /= step; unit += 1; }
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`.trim();
}
const count = (n) => (n < 100000 ? n.toLocaleString('en-US', { maximumFractionDigits: 1 })
  : scaled(n, 1000, ['', 'k', 'M', 'G', 'T']));
const bytes = (n) => scaled(n, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);

function span(seconds) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return '0 s';
  return parts.slice(first, first + 2).map(([size, unit]) => {
    const n = Math.floor(seconds / size);
    seconds -= n * size;
    return `${n} ${unit}`;
  }).join(' ');
}
function milliseconds(ms) {
  if (ms === null) return '–';
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 10 ? 2 : 0)} ms`;
}

// Of two counts, how fast the thing counted grows, per second.
function rate(now, then, seconds) {
  return then === undefined || !seconds || now < then ? 0 : (now - then) / seconds;
}

function table(columns, rows) {
  const align = (column) => (column.text ? 'text' : '') + (column.wrap ? ' wrap' : '');
  return el('table', {},
    el('thead', {}, el('tr', {}, ...columns.map(
      (column) => el('th', { class: align(column), title: column.hint }, column.head)))),
    el('tbody', {}, ...rows.map((row) => el('tr', {}, ...columns.map(
      (column) => el('td', { class: align(column) }, column.cell(row)))))));
}

const named = (name, ...subs) => el('span', {}, el('span', { class: 'name' }, name),
  ...subs.filter(Boolean).map((sub) => el('span', { class: 'sub' }, sub)));
const ofLimit = (n, limit) => (limit === null ? count(n) : `${count(n)} / ${count(limit)}`);

const COLOURS = {
  up: 'good', open: 'good', ready: 'good', full: 'warn', failing: 'warn', draining: 'warn',
  leaving: 'warn', down: 'bad', 'not ready': 'bad', unreachable: 'bad',
};
const pill = (state, title) => el('span', { class: `pill ${COLOURS[state] || ''}`, title }, state);

function sparkline(key) {
  const values = history.get(key) || [];
  const top = Math.max(...values, 1e-9);
  const x = (i) => (i + HISTORY - values.length) * (100 / (HISTORY - 1));
  const line = values.map((v, i) => `${i ? 'L' : 'M'}${x(i).toFixed(2)} ${(23 - 22 * v / top).toFixed(2)}`);
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 100 24');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', line.join(''));
  svg.append(path);
  return svg;
}

function tile(label, value, sub, key, sample) {
  const values = history.get(key) || [];
  values.push(sample);
  history.set(key, values.slice(-HISTORY));
  return el('div', { class: 'tile' }, el('span', { class: 'muted' }, label),
    el('div', { class: 'value' }, value), el('span', { class: 'sub' }, sub || '\u00a0'), sparkline(key));
}

const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

function totals(status) {
  return {
    opened: status.sessions.opened,
    input: sum(status.listeners, (l) => l.bytes_in.delivered),
    output: sum(status.listeners, (l) => l.bytes_out.delivered),
    cpu: status.process.cpu_seconds,
  };
}

function showTiles(status, seconds) {
  const now = totals(status);
  const then = before ? totals(before.status) : {};
  const per = (key) => rate(now[key], then[key], seconds);
  const { process } = status;
  const fds = process.max_fds === null ? '' : `${count(process.open_fds)} / ${count(process.max_fds)} descriptors`;
  const cpu = `of one core, ${status.workers.length} worker${status.workers.length === 1 ? '' : 's'}`;
  show('tiles',
    tile('Sessions', count(status.sessions.active),
      status.sessions.limit === null ? '' : `of ${count(status.sessions.limit)}`, 'active', status.sessions.active),
    tile('New sessions', `${count(per('opened'))} /s`, `${count(now.opened)} in all`, 'opened', per('opened')),
    tile('To servers', `${bytes(per('input'))}/s`, `${bytes(now.input)} in all`, 'input', per('input')),
    tile('To clients', `${bytes(per('output'))}/s`, `${bytes(now.output)} in all`, 'output', per('output')),
    tile('CPU', `${(per('cpu') * 100).toFixed(0)} %`, cpu, 'cpu', per('cpu')),
    tile('Memory', process.resident_bytes === null ? '–' : bytes(process.resident_bytes), fds, 'memory',
      process.resident_bytes || 0));
}

// The same thing in the status before, to tell how fast it moves.
const past = (list, same) => (before ? list(before.status).find(same) : undefined);

function endings(listener) {
  const bad = listener.closed.filter((ending) => ending.reason !== 'finished');
  if (!bad.length) return '–';
  const total = sum(bad, (ending) => ending.sessions);
  const sorted = bad.sort((a, b) => b.sessions - a.sessions);
  const top = sorted.slice(0, 3).map((e) => `${e.who} ${e.reason} ${count(e.sessions)}`).join(', ');
  return named(count(total), top);
}

// How long the first of a listener's or a pool's certificates lives on, and which there are.
function certificates(owner) {
  const all = [...owner.certificates].sort((a, b) => a.not_after.localeCompare(b.not_after));
  if (!all.length) return '–';
  const left = (Date.parse(all[0].not_after) - Date.now()) / 1000;
  const each = all.map((c) => `${c.file}: ${c.subject}, ${c.algorithm}, until ${c.not_after}`);
  return el('span', { title: each.join('\n') }, left > 0 ? `${span(left)} left` : 'expired');
}

function showListeners(status, seconds) {
  const shown = status.listeners.some((listener) => listener.certificates.length);
  const opened = (l) => {
    const then = past((s) => s.listeners, (other) => other.name === l.name);
    return rate(l.sessions.opened, then && then.sessions.opened, seconds);
  };
  show('listeners', el('div', { class: 'card' }, table([
    { head: 'Listener', text: true, cell: (l) => named(l.name, l.addresses.join(' ')) },
    { head: 'State', text: true, cell: (l) => pill(l.state) },
    { head: 'Pool', text: true, cell: (l) => l.pool || '–' },
    { head: 'Sessions', cell: (l) => ofLimit(l.sessions.active, l.sessions.limit) },
    { head: 'New /s', cell: (l) => count(opened(l)) },
    { head: 'In all', cell: (l) => count(l.sessions.opened) },
    { head: 'To servers', cell: (l) => bytes(l.bytes_in.delivered) },
    { head: 'To clients', cell: (l) => bytes(l.bytes_out.delivered) },
    { head: 'Ended otherwise', text: true, wrap: true, hint: 'Sessions that did not end by both sides finishing',
      cell: endings },
    ...(shown ? [{ head: 'Certificates', text: true, hint: 'Until the first of them expires',
      cell: certificates }] : []),
  ], status.listeners)));
}

const TARGETS = ['replica', 'primary', 'both', 'last', 'intercept', 'refused'];

// How a listener's statements were split: the servers that they went to, and their shares.
function shares(listener) {
  const { statements, routes } = listener.mysql;
  if (!statements) return '–';
  const parts = TARGETS.map((target) => ({ target,
    n: sum(routes.filter((route) => route.target === target), (route) => route.statements) })).filter(({ n }) => n);
  const bar = el('div', { class: 'share' }, ...parts.map(({ target, n }) => {
    const part = el('span', { class: target, title: `${target}: ${count(n)}` });
    part.style.flexGrow = n;
    return part;
  }));
  const percent = (n) => {
    const share = 100 * n / statements;
    return `${share > 0 && share < 1 ? '<1' : Math.round(share)} %`;
  };
  return el('span', {}, bar, el('span', { class: 'sub' },
    parts.map(({ target, n }) => `${target} ${percent(n)}`).join(', ')));
}

const byCount = (counts) => Object.entries(counts).sort(([, a], [, b]) => b - a);
const tally = (counts) => byCount(counts).map(([label, n]) => `${label} ${count(n)}`).join(', ');

function reasons(listener, target) {
  const routes = listener.mysql.routes.filter((route) => route.target === target);
  const top = routes.sort((a, b) => b.statements - a.statements).slice(0, 4);
  return top.map((route) => `${route.reason} ${count(route.statements)}`).join(', ') || '–';
}

function logins(listener) {
  const { logins: rungs, login_failures: failed, primary_only: why } = listener.mysql;
  const all = sum(byCount(rungs), ([, n]) => n);
  return named(count(all), tally(rungs), tally(why) && `no replica: ${tally(why)}`, tally(failed) && `failed: ${tally(failed)}`);
}

function events(listener) {
  const { pinned, replays, detached_replicas: detached, gtid_timeouts: timeouts } = listener.mysql;
  const counted = Object.entries({ 'read again': replays, 'replicas detached': detached, 'GTID timeouts': timeouts });
  const seen = counted.filter(([, n]) => n).map(([label, n]) => `${label} ${count(n)}`);
  if (tally(pinned)) seen.unshift(`pinned now: ${tally(pinned)}`);
  return seen.join(', ') || '–';
}

function showMysql(status, seconds) {
  const listeners = status.listeners.filter((listener) => listener.mysql);
  document.getElementById('mysql-section').hidden = !listeners.length;
  const done = (l) => {
    const then = past((s) => s.listeners, (other) => other.name === l.name);
    return rate(l.mysql.statements, then && then.mysql ? then.mysql.statements : undefined, seconds);
  };
  show('mysql', el('div', { class: 'card' }, table([
    { head: 'Listener', text: true, cell: (l) => named(l.name) },
    { head: 'Per second', cell: (l) => named(count(done(l)), `${count(l.mysql.statements)} in all`) },
    { head: 'Went to', text: true, cell: shares },
    { head: 'On the replica, because', text: true, wrap: true, cell: (l) => reasons(l, 'replica') },
    { head: 'On the primary, because', text: true, wrap: true, cell: (l) => reasons(l, 'primary') },
    { head: 'Logins', text: true, wrap: true, cell: logins },
    { head: 'Sessions', text: true, wrap: true, cell: events },
  ], listeners)));
}

function check(server) {
  if (!server.check) return '–';
  if (server.check.last_detail === null) return 'not yet';
  return named(server.check.last_detail,
    `${milliseconds(server.check.last_ms)}, ${count(server.check.passed)} passed, ${count(server.check.failed)} failed`);
}

function failures(server) {
  const kinds = Object.entries(server.connect_failures);
  if (!kinds.length) return '–';
  return named(count(sum(kinds, ([, n]) => n)), kinds.map(([kind, n]) => `${kind} ${count(n)}`).join(', '));
}

function showPool(pool, seconds) {
  const opened = (server) => {
    const then = past((s) => s.pools.flatMap((p) => (p.name === pool.name ? p.servers : [])),
      (other) => other.name === server.name && other.address === server.address);
    return rate(server.sessions.opened, then && then.sessions.opened, seconds);
  };
  const up = pool.servers.filter((server) => server.state === 'up' || server.state === 'full').length;
  const summary = el('span', { class: 'muted' }, `${up} of ${pool.servers.length} up, ${pool.algorithm.replace('_', ' ')}`,
    ...(pool.certificates.length ? [', certificate: ', certificates(pool)] : []));
  const columns = [
    { head: 'Server', text: true, cell: (s) => named(s.name, s.address) },
    { head: 'State', text: true, cell: (s) => pill(s.state) },
    { head: 'Weight', cell: (s) => (s.backup ? named(s.weight, 'backup') : s.weight) },
    { head: 'Sessions', cell: (s) => ofLimit(s.sessions.active, s.sessions.limit) },
    { head: 'New /s', cell: (s) => count(opened(s)) },
    { head: 'In all', cell: (s) => count(s.sessions.opened) },
    { head: 'To it', cell: (s) => bytes(s.bytes_in) },
    { head: 'From it', cell: (s) => bytes(s.bytes_out) },
    { head: 'Connect', hint: 'Mean time of successful connects', cell: (s) => milliseconds(s.connect_ms_mean) },
    { head: 'Failed connects', text: true, cell: failures },
  ];
  if (pool.unauthenticated_sessions !== null) {
    columns.push({ head: 'Statements', hint: 'Statements it answered, and their mean time',
      cell: (s) => named(count(s.statements), milliseconds(s.statement_ms_mean)) });
  }
  if (pool.checked) columns.push({ head: 'Check', text: true, wrap: true, cell: check });
  return el('div', { class: 'card' }, el('header', {}, el('h3', {}, pool.name), summary),
    table(columns, pool.servers));
}

function showWorkers(status, seconds) {
  const workers = status.workers.map((worker, index) => ({ index, ...worker,
    then: before ? before.status.workers[index] : undefined }));
  const per = (w, key) => rate(w[key], w.then && w.then[key], seconds);
  const batch = (w) => {
    const turns = per(w, 'turns');
    return turns ? (per(w, 'completions') / turns).toFixed(1) : '–';
  };
  const troubles = (w) => {
    const kinds = ['buffers_exhausted', 'completion_overflows', 'stale_completions', 'accept_pauses', 'access_records_dropped',
      'statement_records_dropped'];
    const seen = kinds.filter((kind) => w[kind] > 0);
    return seen.map((kind) => `${kind.replaceAll('_', ' ')} ${count(w[kind])}`).join(', ') || '–';
  };
  show('workers', el('div', { class: 'card' }, table([
    { head: 'Worker', text: true, cell: (w) => w.index },
    { head: 'Sessions', cell: (w) => count(w.sessions) },
    { head: 'Turns /s', hint: 'Times around the loop, one io_uring_enter each', cell: (w) => count(Math.round(per(w, 'turns'))) },
    { head: 'Completions per turn', cell: batch },
    { head: 'In flight', hint: 'Operations the kernel has not completed', cell: (w) => count(w.operations_in_flight) },
    { head: 'Copied', cell: (w) => bytes(w.copy_bytes) },
    { head: 'Spliced', cell: (w) => bytes(w.splice_bytes) },
    { head: 'Troubles', text: true, wrap: true, cell: troubles },
  ], workers)));
}

function showState(status) {
  const state = status.lifecycle !== 'running' ? status.lifecycle : status.ready ? 'ready' : 'not ready';
  document.getElementById('state').replaceWith(Object.assign(pill(state), { id: 'state' }));
  document.getElementById('about').textContent =
    `${status.version}, up ${span(status.uptime_seconds)}, configuration ${status.generation}`;
  const alerts = [...status.not_ready_because];
  if (status.reloads.last_error) alerts.push(`The last reload was refused: ${status.reloads.last_error}`);
  for (const [name, log] of [['access', status.access_log], ['statement', status.statement_log]]) {
    if (log && log.lines_dropped) alerts.push(`The ${name} log has lost ${count(log.lines_dropped)} lines.`);
  }
  warn(alerts);
}

function warn(alerts) {
  const box = document.getElementById('alert');
  box.textContent = alerts.join('\n');
  box.hidden = !alerts.length;
}

async function refresh() {
  const response = await fetch('/api/status', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const status = await response.json();
  const at = performance.now();
  const seconds = before ? (at - before.at) / 1000 : 0;
  showState(status);
  showTiles(status, seconds);
  showListeners(status, seconds);
  showMysql(status, seconds);
  show('pools', ...status.pools.map((pool) => showPool(pool, seconds)));
  showWorkers(status, seconds);
  before = { status, at };
}

async function keepRefreshing() {
  if (!document.hidden) {
    try {
      await refresh();
    } catch (error) {
      document.getElementById('state').replaceWith(Object.assign(pill('unreachable'), { id: 'state' }));
      warn([`ringway does not answer (${error.message}). What is below is from before.`]);
    }
  }
  setTimeout(keepRefreshing, REFRESH_MS);
}

keepRefreshing();
