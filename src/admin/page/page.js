
// The page: asks /status.json again and again, and shows what it says. Text goes in as text, never as markup.

const EVERY = 5_000; // milliseconds between two questions
const SOON = 1_000; // while the database was not looked at yet, or there is no answer
const PATIENCE = 10_000;

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const byId = (id) => document.getElementById(id);
const soft = (text) => make("span", { class: "soft" }, text);

// Numbers in words.
const number = (value) => {
  if (value > 0 && value < 10 && !Number.isInteger(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString("en");
};
const several = (count, one, more) => `${number(count)} ${count === 1 ? one : more}`;
const duration = (seconds) => {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${number(seconds / 86_400)} d`;
};
const millis = (value) => (value < 1_000 ? `${number(value)} ms` : `${number(value / 1_000)} s`);
const clock = (unix, second) => new Date(unix * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second });

// Ages that grow between two answers.
const age = (unix) => make("time", { datetime: new Date(unix * 1000).toISOString(), "data-since": unix });
function grow() {
  const now = Date.now() / 1000 - skew;
  for (const element of document.querySelectorAll("[data-since]")) {
    const seconds = Math.max(0, now - Number(element.dataset.since));
    const text = seconds < 2 ? "now" : `${duration(seconds)} ago`;
    if (element.textContent !== text) element.textContent = text;
  }
}
let skew = 0; // of this clock against the daemon's, in seconds

// What to do about what /readyz says, as docs/runbook.md has it in full. The first that fits.
const ADVICE = [
  [/^paused: store_unavailable/, "It does not answer, or its disk or its connections are used up: its own log and hydrant check say more."],
  [/^paused: store_read_only/, "The server is a standby: let database.url lead to the primary."],
  [/^paused: store_misconfigured/, "It refuses the login, the rights or the tables: hydrant check says which."],
  [/^paused: mass_refusal/, "The tables are not as Hydrant left them (a trigger, a constraint, a changed column): the log has the database's reason; undo the change."],
  [/^paused: mass_bad_input/, "Over half of the last 200 bodies were bad, so the rest waits: look at one with hydrant quarantine list and show, and correct format, event_type or network_id; if it really is bad, hydrant run --accept-bad goes on."],
  [/^database: /, "It did not answer in two seconds, or takes no writes: its own log and hydrant check say more."],
  [/^the oldest in flight/, "It is not stored: most often the database is slow, or somebody holds a lock."],
  [/^no receive was answered/, "Not even the answer that nothing waits has come: look at the network to the source."],
  [/^shards that nobody/, ""],
  [/^/, "It tries again by itself; hydrant check tries each right that it needs."],
];

const PAUSES = {
  "paused: store_unavailable": "the database cannot be written",
  "paused: store_read_only": "the database is read-only",
  "paused: store_misconfigured": "the database refuses Hydrant",
  "paused: mass_refusal": "the database refused most of a batch",
};
const HEADLINES = {
  starting: () => ["Starting", "The sources have not started yet: the database is waited for, or brought to this version."],
  stopping: () => ["Stopping", "It finishes what it holds, and ends."],
  unwell: () => ["Not all is well", "What is not stored stays where it is, and comes again."],
  paused: (status) => {
    const pause = status.troubles.map((trouble) => PAUSES[trouble.what]).find(Boolean);
    return [`Paused: ${pause ?? "the database takes no writes"}`, `Nothing is received for ${duration(status.store_unchanged_seconds)} now. What waits in the queues is safe there, and it goes on by itself.`];
  },
  well: (status) => {
    const rate = sum(status.sources.map((source) => source.events_per_second));
    return ["All is well", rate > 0 ? `${number(rate)} events a second are received and stored.` : "Nothing has come in the last half a minute; every source answers."];
  },
};
const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);

function showVerdict(status) {
  const [word, words] = HEADLINES[status.state](status);
  document.body.dataset.state = status.state;
  document.title = `${word} – Hydrant`;
  say(byId("word"), word);
  say(byId("words"), words);
  const told = status.troubles.filter((trouble) => !["starting", "stopping"].includes(trouble.what));
  byId("troubles").replaceChildren(...told.map(({ source, what }) => {
    const [, advice] = ADVICE.find(([begins]) => begins.test(what));
    return make("li", {}, make("b", {}, source ?? "database"), ` ${what.replace(/^database: /, "")} `, soft(advice));
  }));
  byId("about").textContent = `version ${status.version}, up ${duration(status.now - status.started)}`;
}

// Only what changes is written: a screen reader reads it out.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const latest = (samples) => samples.findLast((value) => value !== null);
const greatestOf = (status, pick) => {
  const known = status.sources.map((source) => latest(pick(source.history))).filter((value) => value !== undefined);
  return known.length ? Math.max(...known) : null;
};
const big = (value, ...more) => (value === null ? [make("small", {}, "nothing yet")] : [value, " ", make("small", {}, ...more)]);

const DECIMAL = [1, 2, 5, 10];
const SECONDS = [2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 6 * 3600, 12 * 3600, 86_400, 2 * 86_400];
const PLOTS = [
  plot("events", {
    name: "Events a second", format: number, join: mean, steps: DECIMAL,
    pick: (history) => history.events_per_second,
    now: (status) => big(number(sum(status.sources.map((source) => source.events_per_second))), "in the last half a minute"),
  }),
  plot("lag", {
    name: "Lag", format: duration, join: most, steps: SECONDS,
    pick: (history) => history.lag_seconds.map((lag) => (lag === null ? null : Math.max(0, lag))),
    now: (status) => {
      const lag = greatestOf(status, (history) => history.lag_seconds);
      if (lag < 0) return big("0 s", "dated in the future"); // the sender's clock is ahead
      return big(lag === null ? null : duration(lag), status.state === "paused" ? "at the last commit" : "from event to commit");
    },
  }),
  plot("transactions", {
    name: "Transaction time", format: millis, join: mean, steps: DECIMAL,
    pick: (history) => history.transaction_ms,
    faint: (history) => history.slowest_transaction_ms,
    now: (status) => {
      const slowest = greatestOf(status, (history) => history.slowest_transaction_ms);
      const took = greatestOf(status, (history) => history.transaction_ms);
      return big(took === null ? null : millis(took), `on average, slowest ${millis(slowest ?? 0)}`);
    },
  }),
];

// A circle, a square, a diamond …: colour alone tells a source from another to few.
function mark(nth) {
  const dot = svg("svg", { class: `dot s${nth % 6}`, viewBox: "0 0 10 10", "aria-hidden": "true" });
  const shapes = [["circle", { cx: 5, cy: 5, r: 5 }], ["rect", { width: 10, height: 10 }], ["path", { d: "M5 0l5 5-5 5-5-5z" }]];
  const [tag, attributes] = shapes[nth % shapes.length];
  dot.append(svg(tag, { ...attributes, stroke: "none" }));
  return dot;
}

function spark(source, status, nth) {
  const values = points(source.history.events_per_second, status.history, mean);
  const last = Math.max(1, values.length - 1);
  const high = Math.max(1, ...values);
  const picture = svg("svg", { class: "spark", viewBox: "0 0 88 20", preserveAspectRatio: "none", "aria-hidden": "true" });
  picture.append(svg("path", { class: `line s${nth % 6}`, d: path(values, (at) => (at / last) * 88, (value) => 19 - (value / high) * 18) }));
  return picture;
}

const UNITS = { file: ["file", "files"], s3: ["object", "objects"], sqs: ["message", "messages"] };
function waiting(source) {
  const { count, dead_letters, shards, problem } = source.waiting;
  const cell = [];
  if (problem) cell.push("?", make("span", { class: "soft", title: problem }, "the queue does not tell"));
  else if (count !== null) cell.push(several(count, ...(UNITS[source.kind] ?? UNITS.sqs)));
  else if (shards !== null) cell.push(soft(`${several(shards, "shard", "shards")} read here`));
  else cell.push(source.kind === "http" ? soft("pushed") : "–");
  if (dead_letters) cell.push(make("span", { class: "warn" }, `${several(dead_letters, "dead letter", "dead letters")}`));
  return cell;
}

function showSources(status) {
  const rows = status.sources.map((source, nth) => {
    const cell = (label, kind, ...content) => make("td", { role: "cell", "data-label": label, class: kind }, ...content);
    const trouble = source.is_well ? [] : [make("span", { class: "soft bad" }, "not well")];
    const held = source.oldest_in_flight_seconds;
    return make("tr", { role: "row" },
      cell("Source", "left", mark(nth), make("span", { class: "name" }, source.name), soft(source.kind), ...trouble),
      cell("Events a second", "wide", spark(source, status, nth), number(source.events_per_second)),
      cell("Waiting", "", ...waiting(source)),
      cell("Oldest of them", "", source.waiting.count === 0 || source.waiting.oldest_seconds === null ? "–" : duration(source.waiting.oldest_seconds)),
      cell("In flight", "", number(source.in_flight), ...(held === null ? [] : [soft(`oldest ${duration(held)}`)])),
      cell("Last receive", "", source.last_receive === null ? "never" : age(source.last_receive)),
      cell("Last commit", "", source.last_commit === null ? "never" : age(source.last_commit)));
  });
  byId("sources").tBodies[0].replaceChildren(...rows);
}

const OUTCOMES = [
  ["stored", "new events"],
  ["adjustments", "changes of events"],
  ["duplicates", "came again, and changed nothing"],
  ["variants", "an id came with other contents"],
  ["quarantined", "not understood, and kept as they came"],
];
function showOutcomes(status) {
  const counts = OUTCOMES.map(([name]) => sum(status.sources.map((source) => source.outcomes[name])));
  const bars = counts.map((count, nth) => {
    const bar = make("i", { class: `o${nth}` });
    bar.style.flexGrow = count;
    bar.hidden = count === 0;
    return bar;
  });
  byId("share").replaceChildren(...bars);
  byId("outcomes-since").replaceChildren("since the start, ", age(status.started));
  byId("outcomes").replaceChildren(...OUTCOMES.flatMap(([name, meaning], nth) => [
    make("dt", {}, make("span", { class: `dot o${nth}` }), name),
    make("dd", {}, number(counts[nth])),
    make("dd", {}, meaning),
  ]));
}

function showDatabase(status) {
  const { database, orphans } = status;
  const rows = [];
  const row = (name, ...content) => rows.push(make("dt", {}, name), make("dd", {}, ...content));
  const found = database?.found;
  if (!database) row("Server", "not asked yet");
  else if (!found) row("Server", make("span", { class: "bad" }, "no answer"), " ", soft(database.error));
  else {
    row("Server", `PostgreSQL ${found.postgres.split(" ")[0]}, `, found.is_writable ? "takes writes" : make("span", { class: "bad" }, "read-only"));
    row("Durability", make("span", { class: found.is_durable ? "well" : "bad" }, found.is_durable ? "safe" : "not safe"), `: ${found.durability}`,
      soft(` fsync ${found.fsync}, synchronous_commit ${found.synchronous_commit}`));
  }
  const waits = orphans?.found;
  if (!orphans) row("Orphans", "not counted yet");
  else if (!waits) row("Orphans", soft(orphans.error));
  else if (waits.waiting === 0) row("Orphans", "none: every adjustment has its original");
  else row("Orphans", `${number(waits.waiting)} ${waits.waiting === 1 ? "adjustment waits for its original" : `${waits.is_cut ? "or more " : ""}adjustments wait for their originals`}`,
    soft(` ${number(waits.older_than_a_day)} of them for more than a day`));
  if (database) row("Looked at", age(database.asked));
  byId("database").replaceChildren(...rows);
}

const REASONS_SHOWN = 8;
function showQuarantine(status) {
  const quarantine = status.database?.found?.quarantine;
  const host = byId("quarantine");
  byId("quarantine-open").textContent = quarantine ? `${number(quarantine.open)}${quarantine.is_cut ? " or more" : ""} open` : "";
  if (!quarantine) return host.replaceChildren(make("p", { class: "soft" }, "Not known: the database has not been looked at, or does not answer."));
  if (!quarantine.refusals.length) return host.replaceChildren(make("p", { class: "soft" }, "Nothing is in quarantine: everything that came was understood."));
  const heads = ["Reason", "Source", "Open", "Last seen", "Newest"].map((head, nth) => make("th", { role: "columnheader", scope: "col", class: nth < 2 ? "left" : "" }, head));
  const shown = quarantine.refusals.slice(0, REASONS_SHOWN);
  const rows = shown.map((one) => {
    const cell = (label, kind, ...content) => make("td", { role: "cell", "data-label": label, class: kind }, ...content);
    return make("tr", { role: "row" },
      cell("Reason", "left", make("span", { class: "name" }, one.reason), soft(one.newest_detail ?? "")),
      cell("Source", "left wide", one.source, soft(one.scope === "body" ? "whole bodies" : "events")),
      cell("Open", "", number(one.open)),
      cell("Last seen", "", age(one.last_seen)),
      cell("Newest", "", make("code", {}, one.newest_id.slice(0, 8))));
  });
  const more = quarantine.refusals.length - shown.length;
  host.replaceChildren(
    make("table", { role: "table", "aria-labelledby": "quarantine-title" }, make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)), make("tbody", { role: "rowgroup" }, ...rows)),
    make("p", { class: "soft hint" }, more > 0 ? `${several(more, "more reason", "more reasons")}. ` : "", "Look at one with ", make("code", {}, `hydrant quarantine show ${shown[0].newest_id.slice(0, 8)}`)));
}

function show(status) {
  skew = Date.now() / 1000 - status.now;
  showVerdict(status);
  PLOTS.forEach((draw) => draw(status));
  showSources(status);
  showOutcomes(status);
  showDatabase(status);
  showQuarantine(status);
  byId("fresh").replaceChildren("as of ", age(status.now));
  grow();
}

let last = null; // answer
function showSilence() {
  document.body.dataset.state = "silent";
  document.title = "No answer – Hydrant";
  say(byId("word"), "Hydrant does not answer");
  say(byId("words"), last ? `What stands below is what it said at ${clock(last.now)}.` : "It may be starting, or be stopped. This page goes on asking.");
  byId("troubles").replaceChildren();
}

async function answer() {
  try {
    const response = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

let timer = 0;
async function ask() {
  clearTimeout(timer);
  if (document.hidden) return;
  const status = await answer();
  if (status) show((last = status));
  else showSilence();
  const isFresh = status?.database && status.now - status.database.asked < 30;
  clearTimeout(timer);
  timer = setTimeout(ask, isFresh ? EVERY : SOON);
}

document.addEventListener("visibilitychange", ask);
setInterval(grow, 1_000);
ask();
