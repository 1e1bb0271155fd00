// What each panel shows of the daemon's answers. Nothing here asks the daemon; verbs and stories come in as functions.

import { $, badge, button, bytes, duration, el, place, show, when } from "./dom.js";

const TONES = { done: "good", failed: "bad", skipped: "quiet", deferred: "busy", queued: "busy", held: "warn", left: "quiet" };
const ENDS = { hub: "good", dataset: "good", moved: "good", trash: "quiet", quarantine: "bad", held: "warn", left: "quiet" };
const LINKS = { ok: "good", missing: "warn", broken: "bad", adoptable: "warn", conflict: "bad", foreign: "warn", "not mapped": "quiet" };
const WATCHES = { watching: "good", polling: "good", starting: "busy", away: "bad", paused: "warn", disabled: "quiet" };

export function tiles(status, aside) {
  const files = status.files;
  const open = status.lanes.reduce((sum, lane) => sum + (lane.jobs.queued || 0) + (lane.jobs.running || 0), 0);
  const failed = status.lanes.reduce((sum, lane) => sum + (lane.jobs.failed || 0), 0);
  const rows = [
    ["settling", status.waiting, status.waiting ? "busy" : ""],
    ["jobs open", open, open ? "busy" : ""],
    ["jobs failed", failed, failed ? "bad" : ""],
    ["models", status.models.count, "", bytes(status.models.bytes)],
    ["held", files.held || 0, files.held ? "warn" : ""],
    ["left alone", files.left || 0, ""],
    ["quarantined", aside.length, aside.length ? "bad" : ""],
  ];
  show($("tiles"), rows, (row) => row[0], ([word, count, tone, more]) =>
    el("div", { "data-tone": tone }, el("dt", {}, word), el("dd", {}, count.toLocaleString(), more ? el("small", {}, ` ${more}`) : null)));
}

export function head(status, watches) {
  const paused = watches.filter((watch) => watch.paused).length;
  const all = paused > 0 && paused === watches.length;
  $("about").textContent = `version ${status.version} · up ${duration(status.uptime)}${paused && !all ? ` · ${paused} paused` : ""}`;
  show($("notices"), status.notices, (text) => text, (text) => el("p", {}, text));
  return !status.ready ? "starting" : all ? "paused" : "running";
}

export function inboxes(watches) {
  const boxes = watches.filter((watch) => watch.mode === "inbox");
  $("into").hidden = boxes.length < 2;
  show($("inbox"), boxes, (watch) => watch.name, (watch) => el("option", { value: watch.name }, watch.name));
}

export function watchList(watches, act) {
  show($("watches"), watches, (watch) => watch.name, (watch) => {
    const at = `/watches/${encodeURIComponent(watch.name)}`;
    const verb = watch.paused ? "resume" : "pause";
    return el("li", {},
      el("div", { class: "line" },
        el("strong", {}, el("bdi", {}, watch.name)), badge(watch.mode, "quiet"),
        badge(watch.paused ? "paused" : watch.state, watch.paused ? "warn" : WATCHES[watch.state] || "busy"),
        el("span", { class: "count" }, ...(watch.scanned ? [`${watch.files.toLocaleString()} files at `, when(watch.scanned)] : ["not compared yet"])),
        el("span", { class: "verbs" },
          button("rescan", `r-${watch.name}`, () => act(`${at}/rescan`), `Rescan ${watch.name}`),
          button(verb, `p-${watch.name}`, () => act(`${at}/${verb}`), `${verb} ${watch.name}`))),
      el("div", { class: "sub" }, el("bdi", { class: "ellipsis", title: watch.path }, watch.path)),
      watch.detail ? el("p", { class: "sub warn" }, watch.detail) : null);
  });
}

export function lanes(status, jobs, act) {
  const shown = status.lanes.map((lane) => ({ ...lane, list: jobs.filter((job) => job.lane === lane.lane) }));
  show($("lanes"), shown, (lane) => lane.lane, (lane) => {
    const verb = lane.paused ? "resume" : "pause";
    const counts = ["running", "queued", "paused", "failed"].filter((state) => lane.jobs[state]);
    return el("section", { class: "lane", "aria-label": `lane ${lane.lane}` },
      el("div", { class: "line" },
        el("strong", {}, lane.lane),
        ...counts.map((state) => badge(`${lane.jobs[state].toLocaleString()} ${state}`, { running: "busy", failed: "bad", paused: "warn" }[state] || "quiet")),
        lane.paused ? badge("paused", "warn") : null,
        counts.length || lane.paused ? null : el("span", { class: "quiet" }, "idle"),
        el("span", { class: "verbs" }, button(verb, `l-${lane.lane}`, () => act(`/lanes/${lane.lane}/${verb}`), `${verb} lane ${lane.lane}`))),
      lane.list.length ? el("ul", { class: "rows" }, ...lane.list.map((job) => jobRow(job, act))) : null);
  });
}

function jobRow(job, act) {
  const verbs = { running: ["cancel"], queued: ["pause", "cancel"], paused: ["resume", "cancel"], failed: ["retry"] }[job.state] || [];
  const running = job.state === "running";
  return el("li", { class: "job" },
    el("div", { class: "line" },
      badge(job.state, { running: "busy", failed: "bad", paused: "warn" }[job.state] || "quiet"),
      el("bdi", { class: "ellipsis", title: job.title }, job.title),
      el("span", { class: "verbs" }, ...verbs.map((verb) =>
        button(verb, `j-${job.id}-${verb}`, () => act(`/jobs/${job.id}/${verb}`), `${verb} ${job.title}`)))),
    running ? el("progress", { "data-job": String(job.id), max: 1, value: job.progress ?? undefined, "aria-label": job.title }) : null,
    job.error ? el("p", { class: "sub warn" }, job.error) : null);
}

export function progress(data) {
  const bar = document.querySelector(`progress[data-job="${CSS.escape(String(data.job))}"]`);
  if (bar && typeof data.progress === "number") bar.value = data.progress;
}

export function lines(rows, open) {
  show($("history"), rows, (row) => row.id, (row) => {
    const what = row.verb || row.event;
    const name = row.path ? place(row.path) : row.dataset ? el("bdi", { class: "name" }, row.dataset) : el("span", { class: "quiet" }, "–");
    const file = row.file ? el("button", { type: "button", class: "plain", "data-focus": `f-${row.id}`, onclick: () => open(row.file) }, name) : name;
    const why = el("td", { class: "why" }, el("bdi", {}, row.note || ""), row.rule ? el("span", { class: "rule" }, "rule: ", el("bdi", {}, row.rule)) : null);
    const end = row.end ? el("td", { class: "end" }, badge(row.end, ENDS[row.end]), row.end_at ? el("bdi", { class: "folder", title: row.end_at }, row.end_at) : null) : el("td", { class: "end" });
    return el("tr", { class: row.fresh ? "fresh" : null },
      el("td", { class: "when" }, when(row.at)),
      el("td", { class: "what" }, el("span", { class: "verb" }, what), row.status ? badge(row.status, TONES[row.status] || "quiet") : null),
      el("td", { class: "file" }, file), why, end);
  });
}

export function attention(status, lists, open) {
  const groups = [
    { word: "held", tone: "warn", total: status.files.held || 0, rows: lists.held.map(fileRow) },
    { word: "failed", tone: "bad", total: status.files.failed || 0, rows: lists.failed.map(fileRow) },
    { word: "quarantine", tone: "bad", total: lists.quarantine.length, rows: lists.quarantine.map(asideRow) },
    { word: "left alone", tone: "quiet", total: status.files.left || 0, rows: lists.left.map(fileRow) },
    { word: "trash", tone: "quiet", total: lists.trash.length, rows: lists.trash.map(asideRow) },
  ].filter((group) => group.rows.length);
  show($("attention"), groups, (group) => group.word, (group) =>
    el("details", { open: group.tone !== "quiet" },
      el("summary", {}, group.word, " ", badge(group.total.toLocaleString(), group.tone)),
      el("ul", { class: "rows" }, ...group.rows.map((row) => el("li", {},
        row.file ? el("button", { type: "button", class: "plain", "data-focus": `a-${row.file}`, onclick: () => open(row.file) }, place(row.path)) : place(row.path),
        el("p", { class: "sub" }, el("bdi", {}, row.why), row.until ? el("span", {}, " · kept until ", when(row.until)) : null)))),
      group.total > group.rows.length ? el("p", { class: "sub" }, `and ${(group.total - group.rows.length).toLocaleString()} more`) : null));
}

const fileRow = (file) => ({ file: file.id, path: file.path, why: file.note || file.why || file.reason || file.kind });
const asideRow = (aside) => ({ file: null, path: aside.original, why: aside.reason, until: aside.until });

export function links(found) {
  const groups = Object.entries(found.summary).map(([target, states]) => ({
    target, states, rows: found.links.filter((link) => link.target === target),
  }));
  show($("links"), groups, (group) => group.target, ({ target, states, rows }) => {
    const total = Object.values(states).reduce((a, b) => a + b, 0);
    return el("details", { open: Object.keys(states).some((state) => LINKS[state] !== "good") },
      el("summary", {}, el("bdi", {}, target), " ", ...Object.entries(states).map(([state, n]) => badge(`${n.toLocaleString()} ${state}`, LINKS[state]))),
      el("ul", { class: "rows" }, ...rows.map((link) => el("li", { class: "line" }, badge(link.state, LINKS[link.state]), badge(link.type, "quiet"), place(link.at)))),
      total > rows.length ? el("p", { class: "sub" }, `and ${(total - rows.length).toLocaleString()} more`) : null);
  });
}

export function datasets(rows) {
  show($("datasets"), rows, (row) => row.slug, (row) => el("li", {},
    el("div", { class: "line" },
      el("strong", { title: row.path }, el("bdi", {}, row.slug)),
      el("span", { class: "count" }, `${row.captioned.toLocaleString()} of ${row.pictures.toLocaleString()} captioned · ${bytes(row.bytes)}`)),
    el("progress", { max: row.pictures || 1, value: row.captioned, "aria-label": `captioned of ${row.slug}` })));
}

export function story(file) {
  $("h-story").textContent = file.name;
  const facts = [
    ["path", file.path], ["is", [file.kind, file.type, file.base, bytes(file.size)].filter(Boolean).join(", ")],
    ["confidence", file.confidence === null ? null : file.confidence.toFixed(2)],
    ["condition", file.reason ? `${file.condition}: ${file.reason}` : file.condition],
    ["rule", file.rule ? `${file.rule} (pipeline ${file.pipeline})` : "none matched"], ["why", file.why],
    ["ended", file.end ? `${file.end}: ${file.end_at || ""}` : file.state], ["note", file.note],
    ["tags", file.tags.join(", ")], ["SHA-256", file.sha256],
    ["with it", file.companions.map((companion) => companion.name).join(", ")],
  ].filter(([, value]) => value);
  const evidence = file.facts?.evidence || [];
  $("telling").replaceChildren(
    el("dl", { class: "facts" }, ...facts.flatMap(([word, value]) => [el("dt", {}, word), el("dd", {}, el("bdi", {}, value))])),
    evidence.length ? el("h3", {}, "On this evidence") : "",
    el("ul", {}, ...evidence.map((e) => el("li", {}, el("bdi", {}, e.text), el("span", { class: "quiet" }, ` ${e.source}, ${e.weight.toFixed(2)}`)))),
    el("h3", {}, "What happened to it"),
    el("ul", { class: "rows" }, ...file.history.map((h) => el("li", { class: "line" }, when(h.at), el("span", { class: "verb" }, h.verb || h.event),
      h.status ? badge(h.status, TONES[h.status] || "quiet") : null, el("bdi", {}, h.note)))));
}
