// Talking to the daemon: questions, verbs, uploads, and the event stream that comes back by itself.
// The key lives in this tab's sessionStorage and travels in a header, never in an address; that is why the stream is read with fetch.

const BASE = "/api/v1";
const SILENCE = 45_000; // ms without a sign of life (the daemon pings every 15 s) after which the line is taken for dead

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem("dropdock-key"),
  set: (value) => sessionStorage.setItem("dropdock-key", value),
};

function headers() {
  const value = key.get();
  return value ? { "X-API-Key": value } : {};
}

async function refusal(answer) {
  const body = await answer.json().catch(() => ({}));
  return new Refused(answer.status, body.detail || `${answer.status} ${answer.statusText}`);
}

export async function get(path) {
  const answer = await fetch(BASE + path, { headers: headers() });
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

export async function post(path) {
  const answer = await fetch(BASE + path, { method: "POST", headers: headers() });
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

// XMLHttpRequest, since fetch cannot say how much of a body is sent.
export function upload(files, watch, onSent) {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${BASE}/inbox${watch ? `?watch=${encodeURIComponent(watch)}` : ""}`);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    request.onload = () => {
      let body = {};
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // an answer that is no JSON is told by its status
      }
      if (request.status === 201) resolve(body.files);
      else reject(new Refused(request.status, body.detail || `the daemon answered ${request.status}`));
    };
    request.onerror = () => reject(new Refused(0, "the daemon cannot be reached"));
    request.send(form);
  });
}

// Reads the stream for ever: onEvent(type, data, id) for each event, onLine(true | false | Refused) as the line comes and goes.
export async function listen(since, onEvent, onLine) {
  let last = since;
  let pause = 500;
  for (;;) {
    try {
      await follow(last, (type, data, id) => {
        pause = 500;
        if (id !== null) last = id;
        if (type === "reset") last = data.last;
        onEvent(type, data, id);
      }, () => onLine(true));
      onLine(false);
    } catch (error) {
      onLine(error instanceof Refused ? error : false);
      if (error instanceof Refused && error.status === 401) return;
    }
    await new Promise((go) => setTimeout(go, pause));
    pause = Math.min(pause * 2, 15_000);
  }
}

async function follow(since, onEvent, onOpen) {
  const stop = new AbortController();
  let watchdog = setTimeout(() => stop.abort(), SILENCE);
  try {
    const answer = await fetch(`${BASE}/events?since=${since}`, { headers: headers(), signal: stop.signal, cache: "no-store" });
    if (!answer.ok) throw await refusal(answer);
    onOpen();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(() => stop.abort(), SILENCE);
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) parse(frame, onEvent);
    }
  } finally {
    clearTimeout(watchdog);
  }
}

function parse(frame, onEvent) {
  let type = "message";
  let id = null;
  const data = [];
  for (const line of frame.split("\n")) {
    if (line.startsWith("event: ")) type = line.slice(7);
    else if (line.startsWith("id: ")) id = Number(line.slice(4));
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  if (data.length) onEvent(type, JSON.parse(data.join("\n")), id);
}
