// Making elements. Text is only ever set as text, never as markup: a file may be called <img onerror=...>.

export const $ = (id) => document.getElementById(id);

// el("p", {class: "quiet", title: path}, "text", child): null children and null attributes are left out.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick") node.addEventListener("click", value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Show items as children of a node, one each, in order. A child whose item did not change is kept, so that focus, open
// details and selected text survive; a changed one gives its focus to its successor, unless `move` can have it say what is new.
export function show(parent, items, keyOf, make, move = () => false) {
  const had = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const focus = parent.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const nodes = items.map((item) => {
    const key = String(keyOf(item));
    const seen = JSON.stringify(item);
    const old = had.get(key);
    if (old && (old.seen === seen || move(old, item))) {
      old.seen = seen;
      return old;
    }
    const node = make(item);
    if (old && old.open !== undefined && node.open !== undefined) node.open = old.open;
    node.dataset.key = key;
    node.seen = seen;
    return node;
  });
  const same = nodes.length === parent.children.length && nodes.every((node, n) => node === parent.children[n]);
  if (same) return;
  parent.replaceChildren(...nodes);
  if (focus) parent.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
}

export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (n >= 1000 && at < units.length - 1) {
    n /= 1000;
    at += 1;
  }
  return `${at && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[at]}`;
}

export function duration(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

export function when(seconds) {
  const at = new Date(seconds * 1000);
  const today = new Date().toDateString() === at.toDateString();
  const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const day = at.toLocaleDateString([], { month: "short", day: "numeric" });
  return el("time", { datetime: at.toISOString(), title: at.toLocaleString() }, today ? clock : `${day} ${clock}`);
}

export function badge(word, tone) {
  return el("span", { class: "badge", "data-tone": tone || word }, word);
}

// A path: its last part strong, the folder quiet, all of it in the tooltip. <bdi> keeps right-to-left names in their place.
export function place(path) {
  const cut = path.lastIndexOf("/");
  return el("span", { class: "path", title: path }, el("bdi", { class: "name" }, path.slice(cut + 1) || path), el("bdi", { class: "folder" }, path.slice(0, cut)));
}

export function button(word, focus, act, label) {
  return el("button", { type: "button", class: "small", "data-focus": focus, "aria-label": label, onclick: act }, word);
}
