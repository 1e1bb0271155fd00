// The panel of captions: who writes them and how each of them is, and the runs with their progress and verbs.
// Nothing here asks the daemon. A run moves in place, so that a button is never taken away from under the pointer.

import { $, badge, button, duration, el, show } from "./dom.js";

const STATES = { idle: ["idle", "quiet"], waits: ["waits", "warn"], loading: ["loading", "busy"], working: ["working", "busy"], ready: ["loaded", "good"], broken: ["cannot work", "bad"] };
const RUNS = { running: "busy", paused: "warn", done: "good", cancelled: "quiet" };
const VERBS = { running: ["pause", "cancel"], paused: ["resume", "cancel"] };

const speed = (n) => `${n >= 10 ? Math.round(n) : n.toFixed(n < 0.1 ? 2 : 1)} img/s`;

// `asked`: the captioners of the config, as they were when they were last asked; `now`: those that have had something to do.
export function captioners(asked, now) {
  const names = new Set(now.map((one) => one.name));
  const idle = asked.filter((one) => !names.has(one.name)).map((one) => ({ ...one, state: one.note ? "broken" : "idle" }));
  const models = new Map(asked.map((one) => [one.name, one.model]));
  const rows = [...now, ...idle].map((one) => ({
    name: one.name, device: one.device, state: one.state, note: one.note,
    about: [one.engine, models.get(one.name), one.device].filter(Boolean).join(" · "),
    speed: one.per_second > 0 ? speed(one.per_second) : one.last_per_second > 0 ? `last ${speed(one.last_per_second)}` : "",
  })).sort((a, b) => a.name.localeCompare(b.name) || a.device.localeCompare(b.device));
  show($("captioners"), rows, (row) => `${row.name} ${row.device}`, (row) => {
    const [word, tone] = STATES[row.state] || [row.state, "quiet"];
    return el("li", {},
      el("div", { class: "line" }, el("strong", {}, el("bdi", {}, row.name)), badge(word, tone), el("span", { class: "count" }, row.speed)),
      el("div", { class: "sub" }, el("bdi", { class: "ellipsis", title: row.about }, row.about)),
      row.note ? el("p", { class: row.state === "broken" || row.state === "waits" ? "sub warn" : "sub" }, row.note) : null);
  });
}

const seen = (run) => run.done + run.failed;
const part = (run) => (run.state === "cancelled" ? seen(run) / (run.total || 1) : run.progress);

function count(run) {
  return [`${seen(run).toLocaleString()} of ${run.total.toLocaleString()}`,
    run.state === "running" && run.per_second > 0 ? speed(run.per_second) : "",
    run.state === "running" && run.eta ? `${duration(run.eta)} left` : ""].filter(Boolean).join(" · ");
}

// Has a row say what its run is now; false when that takes another row.
function move(row, run) {
  if (row.run.state !== run.state || row.run.phase !== run.phase || Boolean(row.run.failed) !== Boolean(run.failed)) return false;
  row.run = { ...row.run, ...run };
  row.querySelector(".count").textContent = count(row.run);
  row.querySelector("progress").value = part(row.run);
  if (row.run.failed) row.querySelector("[data-tone=bad]").textContent = `${row.run.failed.toLocaleString()} failed`;
  return true;
}

export function runs(rows, act) {
  show($("runs"), rows, (run) => run.id, (run) => {
    const name = `run ${run.id} of ${run.dataset}`;
    const row = el("li", { class: "job" },
      el("div", { class: "line" },
        el("strong", {}, el("bdi", {}, run.dataset)), badge(run.state, RUNS[run.state]),
        run.failed ? badge(`${run.failed.toLocaleString()} failed`, "bad") : null,
        el("span", { class: "verbs" }, ...(VERBS[run.state] || []).map((verb) =>
          button(verb, `run-${run.id}-${verb}`, () => act(`/captioning/${run.id}/${verb}`), `${verb} ${name}`)))),
      el("progress", { max: 1, value: part(run), "aria-label": `captioned in ${name}` }),
      el("p", { class: "sub" }, el("span", { class: "count" }, count(run)), ` · run ${run.id} with `, el("bdi", {}, run.with), " into ", el("bdi", {}, run.set),
        run.phase === "measure" ? ", looking at the pictures first" : ""));
    row.run = run;
    return row;
  }, move);
}

// What the stream says of a run. Whether it could be shown: else it is another run, or in another state, and must be asked for.
export function progress(data) {
  const row = document.querySelector(`#runs > [data-key="${CSS.escape(String(data.run))}"]`);
  return row !== null && move(row, data);
}
