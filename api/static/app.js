// The status page: ask once, then follow the event stream; every event shows at once, and what it changed is asked for again soon.

import * as captions from "./captions.js";
import { $ } from "./dom.js";
import * as panels from "./panels.js";
import { get, key, listen, post, Refused, upload } from "./server.js";

const ROWS = 200; // lines of history on the page
const CAPTIONERS = 60_000; // ms between two questions who can caption: servers are asked for it
let history = []; // newest first
let known = null; // the newest status
let line = "connecting"; // connecting, live, lost
let mood = "running";
let writers = []; // the captioners, when they were last asked
let writersAt = -Infinity;

// ---------------------------------------------------------------- asking

async function ask() {
  const files = (state) => get(`/files?state=${state}&limit=50`).then((found) => found.files);
  const jobs = (state, limit) => get(`/jobs?state=${state}&limit=${limit}`).then((found) => found.jobs);
  const aside = (place) => get(`/aside?place=${place}`).then((found) => found.aside);
  const [status, watches, lines, links, datasets, held, failed, left, quarantine, trash, going, latest, ...queue] = await Promise.all([
    get("/status"), get("/watches"), get(`/history?limit=${ROWS}`), allLinks(), get("/datasets"),
    files("held"), files("failed"), files("left"), aside("quarantine"), aside("trash"),
    get("/captioning?state=open&limit=20"), get("/captioning?limit=3"),
    jobs("running", 50), jobs("failed", 20), jobs("paused", 10), jobs("queued", 10),
  ]);
  known = status;
  mood = panels.head(status, watches.watches);
  panels.tiles(status, quarantine);
  panels.inboxes(watches.watches);
  panels.watchList(watches.watches, act);
  panels.lanes(status, queue.flat(), act);
  captions.runs([...new Map([...going.runs, ...latest.runs].map((run) => [run.id, run])).values()], act);
  captions.captioners(writers, status.captioners);
  askWriters();
  merge(lines.history);
  panels.attention(status, { held, failed, left, quarantine, trash }, open);
  panels.links(links);
  panels.datasets(datasets.datasets);
  showLine();
}

// Who can caption takes seconds where a server is slow: nothing else waits for it.
async function askWriters() {
  if (performance.now() - writersAt < CAPTIONERS) return;
  writersAt = performance.now();
  try {
    writers = (await get("/captioners")).captioners;
    captions.captioners(writers, known.captioners);
  } catch (error) {
    trouble(error);
  }
}

// The first links, and all that are not as they should be, in front.
async function allLinks() {
  const found = await get("/links?limit=100");
  const troubled = new Set(Object.values(found.summary).flatMap((states) => Object.keys(states)));
  troubled.delete("ok");
  const more = await Promise.all([...troubled].map((state) => get(`/links?limit=50&state=${encodeURIComponent(state)}`)));
  const at = new Map([...more.flatMap((page) => page.links), ...found.links].map((link) => [link.at, link]));
  return { summary: found.summary, links: [...at.values()] };
}

function merge(rows) {
  const newest = rows.length ? rows[0].id : 0;
  const fresh = new Set(history.filter((row) => row.fresh).map((row) => row.id));
  const ahead = history.filter((row) => row.id > newest); // came by the stream while we asked
  history = [...ahead, ...rows.map((row) => (fresh.has(row.id) ? { ...row, fresh: true } : row))].slice(0, ROWS);
  panels.lines(history, open);
}

// Asks again soon after something happened: at most once a second, less often when answers are slow, never while nobody looks.
let due = false;
let busy = false;
async function soon() {
  due = true;
  if (busy || document.hidden) return;
  busy = true;
  while (due && !document.hidden) {
    due = false;
    const began = performance.now();
    await ask().catch(trouble);
    await new Promise((go) => setTimeout(go, Math.max(1000, 10 * (performance.now() - began))));
  }
  busy = false;
}

// ---------------------------------------------------------------- following

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    panels.lines(history, open);
  });
}

function happened(type, data, id) {
  if (type === "progress" && data.run === undefined) panels.progress(data);
  else if (type === "progress" && captions.progress(data)) return;
  else if (type !== "hello") {
    if (id !== null && !history.some((row) => row.id === id)) {
      history = [{ ...data, end: null, end_at: null, fresh: true }, ...history].slice(0, ROWS);
      draw();
    }
    soon();
  }
}

function lineChanged(now) {
  if (now instanceof Refused && now.status === 401) askKey("");
  line = now === true ? "live" : "lost";
  if (now === true) soon();
  showLine();
}

function showLine() {
  const state = line === "live" ? mood : line;
  $("state").dataset.state = state;
  const words = { lost: "not reachable, trying again", connecting: "connecting", running: "running", paused: "paused", starting: "starting" };
  if ($("state").textContent !== words[state]) $("state").textContent = words[state];
  document.title = state === "running" ? "dropdock" : `dropdock (${state})`;
}

function trouble(error) {
  if (error instanceof Refused && error.status === 401) askKey("");
  else if (error instanceof Refused) say(error.message, true);
}

// ---------------------------------------------------------------- doing

async function act(path) {
  try {
    await post(path);
  } catch (error) {
    trouble(error);
  }
  soon();
}

async function open(file) {
  try {
    panels.story(await get(`/files/${file}`));
    $("story").showModal();
  } catch (error) {
    trouble(error);
  }
}

function say(text, bad = false) {
  $("sending").textContent = text;
  $("sending").className = bad ? "warn" : "";
}

async function send(files) {
  if (!files.length) return;
  const bar = $("sent");
  bar.hidden = false;
  bar.value = 0;
  say(`sending ${files.length === 1 ? files[0].name : `${files.length} files`}`);
  try {
    const taken = await upload(files, $("into").hidden ? null : $("inbox").value, (part) => (bar.value = part));
    say(`${taken.map((file) => file.name).slice(0, 3).join(", ")}${taken.length > 3 ? ` and ${taken.length - 3} more` : ""} taken in`);
  } catch (error) {
    say(error.message, true);
    if (error.status === 401) askKey("");
  }
  bar.hidden = true;
}

function askKey(wrong) {
  $("wrong").textContent = wrong || (key.get() ? "That was not the key." : "");
  if (!$("ask").open) $("ask").showModal();
}

// ---------------------------------------------------------------- start

async function start() {
  try {
    await ask();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return askKey("");
    line = "lost";
    showLine();
    setTimeout(start, 2000);
    return undefined;
  }
  return listen(known.last, happened, lineChanged);
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set($("key").value);
  $("key").value = "";
  $("ask").close();
  start();
});
$("ask").addEventListener("cancel", (event) => event.preventDefault());
$("close").addEventListener("click", () => $("story").close());
$("rescan").addEventListener("click", () => act("/rescan"));
$("choose").addEventListener("change", async () => {
  await send([...$("choose").files]);
  $("choose").value = "";
});

let depth = 0; // dragenter and dragleave come for every element passed over
const carriesFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
addEventListener("dragenter", (event) => {
  if (!carriesFiles(event)) return;
  depth += 1;
  document.body.classList.add("dropping");
});
addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1);
  if (!depth) document.body.classList.remove("dropping");
});
addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  depth = 0;
  document.body.classList.remove("dropping");
  if (!carriesFiles(event)) return;
  event.preventDefault();
  send([...event.dataTransfer.files]);
});
document.addEventListener("visibilitychange", () => !document.hidden && known && soon());
setInterval(() => known && line === "live" && soon(), 20_000); // uptime, settling units: what no event tells

start();
