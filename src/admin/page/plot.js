"use strict";
// One plot: the last minutes of every source as lines, with a cursor for mouse, finger and keyboard.

const SPANS = [5, 10, 15, 30, 60]; // minutes that a plot may show: the least that hold all there is
const POINTS = 180; // at most
const BRIDGED = 3; // points without a value that a line goes across

const svg = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

// What the plots show: `count` points of `bucket` seconds each, and how to call it.
function span(history) {
  const known = (history.paused.length * history.step_seconds) / 60;
  const minutes = SPANS.find((minutes) => minutes >= known) ?? SPANS.at(-1);
  const bucket = Math.max(history.step_seconds, (minutes * 60) / POINTS);
  return { bucket, count: (minutes * 60) / bucket, name: minutes === 60 ? "the last hour" : `the last ${minutes} minutes` };
}

// Samples as points by the clock, so that a point never moves but to the left. `join` makes one of several.
function points(samples, history, join) {
  const { bucket, count } = span(history);
  const last = Math.floor(history.ends / bucket);
  const buckets = Array.from({ length: count }, () => []);
  samples.forEach((value, at) => {
    if (value === null) return;
    const when = history.ends - (samples.length - 1 - at) * history.step_seconds;
    buckets[count - 1 - last + Math.floor(when / bucket)]?.push(value);
  });
  return buckets.map((values) => (values.length ? join(values) : null));
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const most = (values) => Math.max(...values);

// The path of a line; it breaks where there is nothing for long. A lonely point is a dot.
function path(values, x, y) {
  let text = "";
  let before = -Infinity;
  values.forEach((value, at) => {
    if (value === null) return;
    const place = `${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    text += at - before <= BRIDGED ? `L${place}` : `M${place}h.01`;
    before = at;
  });
  return text;
}

// The same, down to the ground.
function area(values, x, y) {
  const runs = [];
  let before = -Infinity;
  values.forEach((value, at) => {
    if (value === null) return;
    if (at - before > BRIDGED) runs.push([]);
    runs.at(-1).push([x(at), y(value)]);
    before = at;
  });
  const closed = (run) => `M${run[0][0]} ${y(0)}` + run.map(([left, top]) => `L${left} ${top}`).join("") + `L${run.at(-1)[0]} ${y(0)}z`;
  return runs.map(closed).join("");
}

// `steps`: where a scale may end; beyond the last of them at 1, 2, 3 or 5 times a power of ten.
function ceiling(value, steps) {
  const step = steps.find((step) => step >= value);
  if (step) return step;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 5, 10].map((times) => times * power).find((top) => top >= value);
}

// Fills a figure. `options`: name, unit, format (a value in words), pick (a source's samples), faint (a second line, or
// nothing), join, steps, now (what is shown large).
function plot(id, options) {
  const figure = document.getElementById(id);
  const now = make("p", { class: "now" });
  const summary = make("p", { class: "unseen", id: `${id}-summary` });
  const host = make("div", {
    class: "plot", role: "slider", tabindex: "0", "aria-label": options.name,
    "aria-describedby": summary.id, "aria-valuemin": "0",
  });
  figure.append(now, host, summary);
  let status = null;
  let shown = null; // what of its time
  let end = 0; // the place of the last point
  let cursor = null;

  const lines = () => status.sources.map((source) => ({
    name: source.name,
    values: points(options.pick(source.history), status.history, options.join),
    faint: options.faint ? points(options.faint(source.history), status.history, most) : null,
  }));
  const time = (at) => status.history.ends - (end - at) * shown.bucket;
  const words = (line, at) => (line.values[at] === null ? "nothing" : options.format(line.values[at]));

  function draw() {
    if (!status) return;
    const [width, height] = [host.clientWidth, host.clientHeight];
    const [top, bottom] = [10, height - 18];
    const all = lines();
    const drawn = all.flatMap((line) => [...line.values, ...(line.faint && all.length === 1 ? line.faint : [])]);
    const high = ceiling(Math.max(0, ...drawn), options.steps);
    const x = (at) => (at / end) * width;
    const y = (value) => bottom - (value / high) * (bottom - top);
    const picture = svg("svg", { "aria-hidden": "true" });
    for (const value of [0, high / 2, high]) picture.append(svg("line", { class: "grid", x1: 0, x2: width, y1: y(value), y2: y(value) }));
    const paused = points(status.history.paused.map(Number), status.history, most);
    paused.forEach((is, at) => {
      if (is) picture.append(svg("rect", { class: "pause", x: x(at - 0.5), y: top, width: x(1) + 0.3, height: bottom - top }));
    });
    all.forEach((line, nth) => {
      const colour = `s${nth % 6}`;
      if (all.length === 1) picture.append(svg("path", { class: `area ${colour}`, d: area(line.values, x, y) }));
      if (line.faint && all.length === 1) picture.append(svg("path", { class: `line faint ${colour}`, d: path(line.faint, x, y) }));
      picture.append(svg("path", { class: `line ${colour}`, d: path(line.values, x, y) }));
    });
    const label = (text, attributes) => {
      const element = svg("text", attributes);
      element.textContent = text;
      picture.append(element);
    };
    label(options.format(high), { x: 0, y: top - 1 });
    label(shown.name, { x: width, y: top - 1, "text-anchor": "end" });
    for (const [at, anchor] of [[0, "start"], [end / 2, "middle"], [end, "end"]]) {
      label(clock(time(at)), { x: x(at), y: height - 3, "text-anchor": anchor });
    }
    if (cursor !== null) picture.append(svg("line", { class: "cross", x1: x(cursor), x2: x(cursor), y1: top, y2: bottom }));
    host.replaceChildren(picture);
    tell(all);
  }

  // What the picture shows, in words.
  function tell(all) {
    const at = cursor ?? end;
    const each = all.map((line) => (all.length > 1 ? `${line.name} ${words(line, at)}` : words(line, at)));
    const text = `${clock(time(at), "2-digit")}: ${each.join(", ") || "nothing"}`;
    host.setAttribute("aria-valuenow", String(at));
    host.setAttribute("aria-valuetext", text);
    now.replaceChildren(...(cursor === null ? options.now(status) : [make("small", {}, text)]));
    summary.textContent = all.map((line) => {
      const known = line.values.filter((value) => value !== null);
      if (!known.length) return `${line.name}: nothing in ${shown.name}.`;
      const [least, greatest] = [Math.min(...known), most(known)].map(options.format);
      return `${line.name}: between ${least} and ${greatest} in ${shown.name}, ${options.format(known.at(-1))} last.`;
    }).join(" ");
  }

  const point = (to) => {
    cursor = to === null ? null : Math.max(0, Math.min(end, Math.round(to)));
    draw();
  };
  host.addEventListener("pointermove", (event) => point(((event.clientX - host.getBoundingClientRect().left) / host.clientWidth) * end));
  host.addEventListener("pointerleave", () => point(null));
  host.addEventListener("blur", () => point(null));
  host.addEventListener("keydown", (event) => {
    const from = cursor ?? end;
    const to = { ArrowLeft: from - 1, ArrowDown: from - 1, ArrowRight: from + 1, ArrowUp: from + 1, PageDown: from - 15, PageUp: from + 15, Home: 0, End: end, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    point(to);
  });
  new ResizeObserver(draw).observe(host);
  return (fresh) => {
    status = fresh;
    shown = span(status.history);
    end = shown.count - 1;
    if (cursor !== null) cursor = Math.min(cursor, end);
    host.setAttribute("aria-label", `${options.name}, ${shown.name}`);
    host.setAttribute("aria-valuemax", String(end));
    draw();
  };
}
