"use strict";
const $ = (id) => document.getElementById(id);
const state = { directions: {}, photos: [], photo: null, clip: null, who: "", edits: {} };

function say(text, wrong = false) {
  $("said").textContent = text;
  $("said").classList.toggle("wrong", wrong);
}

async function sent(url, options) {
  const answer = await fetch(url, options).catch(() => null);
  if (!answer) throw new Error("the server does not answer: is dseinvert ui still running?");
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}
const post = (action, asked) => sent(`/api/${action}`, { method: "POST", body: JSON.stringify(asked ?? {}) });
const ask = async (action, asked) => (await post(action, asked)).json();

/* Do it, and say in a sentence what went wrong. */
async function tried(work) {
  document.body.dataset.busy = +(document.body.dataset.busy ?? 0) + 1;
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
  } finally {
    document.body.dataset.busy -= 1;
  }
}

/* While it works, only the last of the wishes that come is kept. */
function latest(work) {
  let busy = false, again = false;
  return async () => {
    again = true;
    if (busy) return;
    busy = true;
    while (again) {
      again = false;
      await tried(work);
    }
    busy = false;
  };
}

function made(tag, properties, ...inside) {
  const one = Object.assign(document.createElement(tag), properties);
  one.append(...inside);
  return one;
}

async function download(action, asked) {
  const answer = await post(action, asked);
  const name = /filename="(.*)"/.exec(answer.headers.get("Content-Disposition"))[1];
  const url = URL.createObjectURL(await answer.blob());
  made("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
  say(`${name} is saved`);
}

function wipe(place, what) {
  const before = made("img", { alt: `${what} before` });
  const after = made("img", { alt: `${what} after` });
  const position = made("input", { type: "range", min: 0, max: 100, value: 50 });
  position.setAttribute("aria-label", "before to the left, after to the right");
  const frame = made("div", {}, before, after);
  /* Of several faces beside each other, each is wiped by itself. */
  const cut = () => {
    const count = +(place.dataset.faces ?? 1);
    const cells = [...Array(count).keys()].map((k) => [k + position.value / 100, k + 1].map((x) => (100 * x) / count));
    frame.style.setProperty("--at", position.value / 100);
    frame.style.setProperty("--cell", `${100 / count}%`);
    after.style.clipPath = `polygon(${cells.map(([x0, x1]) => `${x0}% 0%, ${x0}% 100%, ${x1}% 100%, ${x1}% 0%`)})`;
  };
  after.onload = () => {
    frame.style.setProperty("--across", after.naturalWidth);
    frame.style.setProperty("--down", after.naturalHeight);
  };
  position.oninput = cut;
  cut();
  place.append(frame, position);
  place.hidden = true;
  return (drawn) => {
    if (drawn.before) before.src = drawn.before;
    after.src = drawn.after;
    place.dataset.faces = drawn.faces ?? 1;
    cut();
    place.hidden = false;
    place.dataset.drawn = +(place.dataset.drawn ?? 0) + 1;
  };
}

function lines(place, told) {
  place.replaceChildren(
    ...["shell", "python"].map((kind) => made("pre", { textContent: told[kind], tabIndex: 0, ariaLabel: kind })),
  );
}

/* A slider for each direction; `moved(name)` when one is released. */
function sliders(place, moved, { auto = true, key = null } = {}) {
  const rows = {};
  place.replaceChildren();
  for (const [name, unit] of Object.entries(state.directions)) {
    const id = `${place.id}-${name}`;
    const range = made("input", { type: "range", id, min: -3, max: 3, step: 0.1, value: 0 });
    const said = made("output", { htmlFor: id, textContent: "0" });
    const zero = made("button", { type: "button", textContent: "0", title: "back to 0", ariaLabel: `${name} back to 0` });
    const tick = made("input", { type: "checkbox", ariaLabel: `${name}: as far as the person stays the same` });
    const show = () => (said.textContent = range.value > 0 ? `+${range.value}` : range.value);
    const change = () => (show(), moved(name));
    const reset = () => ((range.value = 0), (tick.checked = false), change());
    range.oninput = show;
    range.onchange = tick.onchange = change;
    range.ondblclick = zero.onclick = reset;
    range.onkeydown = ({ key }) => void (["0", "Delete", "Backspace"].includes(key) && reset());
    const row = made("div", { className: "slider", title: unit }, made("label", { htmlFor: id, textContent: name }), range, said, zero);
    if (key) row.append(made("button", { type: "button", textContent: "◆", ariaLabel: `key of ${name} here`, onclick: () => key(name) }));
    if (auto) row.append(made("label", {}, tick, " auto"));
    place.append(row);
    rows[name] = { range, tick, show };
  }
  if (!place.children.length) place.append("This model has no directions: learn some under Models.");
  const value = (row) => (row.tick.checked ? "auto" : +row.range.value);
  return {
    value: (name) => value(rows[name]),
    values: () => Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, value(row)])),
    set: (name, value) => ((rows[name].range.value = value), rows[name].show()),
  };
}

function drop(input, take) {
  const zone = input.parentElement;
  const over = (event, on) => (event.preventDefault(), zone.classList.toggle("over", on));
  zone.ondragover = (event) => over(event, true);
  zone.ondragleave = (event) => over(event, false);
  zone.ondrop = (event) => (over(event, false), take([...event.dataTransfer.files]));
  input.onchange = async () => (await take([...input.files]), (input.value = ""));
}

const put = async (kind, file) =>
  (await sent(`/drop/${kind}?name=${encodeURIComponent(file.name)}`, { method: "PUT", body: file })).json();

/* Photo */
const drawPhoto = latest(async () => {
  if (!state.photo) return;
  const asked = wanted();
  const source = JSON.stringify([asked.photo, asked.faces, asked.view]);
  const drawn = await ask("draw", { ...asked, before: source !== state.source, wait: false });
  state.showPhoto({ ...drawn, faces: asked.view === "crop" ? asked.faces.length : 1 });
  state.source = source;
  $("photo-said").textContent = drawn.said;
  lines($("photo-lines"), drawn.lines);
  clearTimeout(state.refining);
  if (drawn.refining) state.refining = setTimeout(drawPhoto, 500);
});

function second() {
  if (!$("second").value) return null;
  const [photo, face] = $("second").value.split("/");
  const how = $("second-how").value === "mix" ? { layers: $("layers").value } : { share: +$("share").value };
  return { photo, face: +face, ...how };
}

const wanted = () => ({
  photo: state.photo.id,
  faces: [...$("faces").querySelectorAll("input:checked")].map((one) => +one.value),
  edits: state.photoSliders.values(),
  refine: $("photo-refine").value,
  mask: $("photo-mask").value,
  view: document.querySelector("[name=view]:checked").value,
  second: second(),
});

async function takePhotos(files) {
  for (const file of files)
    await tried(async () => {
      say(`${file.name}: finding faces…`);
      const photo = await put("photo", file);
      state.photos.push(photo);
      pickPhoto(photo);
      say(`${photo.name}: ${photo.said}`);
    });
}

function pickPhoto(photo) {
  state.photos = state.photos.slice(-6);
  state.photo = photo;
  $("photos").replaceChildren(
    ...state.photos.map((one) => {
      const shown = made("button", { onclick: () => pickPhoto(one) }, made("img", { src: one.picture, alt: one.name }));
      shown.setAttribute("aria-pressed", one === photo);
      return shown;
    }),
  );
  $("photos").hidden = state.photos.length < 2;
  const found = made("div", { className: "found" }, made("img", { src: photo.picture, alt: `${photo.name}, its faces numbered` }));
  photo.quads.forEach((quad, k) => {
    const [x, y] = [0, 1].map((axis) => quad.map((corner) => corner[axis]));
    const tick = made("input", { type: "checkbox", value: k, checked: k === 0, onchange: drawPhoto });
    const box = made("label", {}, tick, made("span", { textContent: `Face ${k + 1}` }));
    const [left, top] = [Math.max(0, Math.min(...x)), Math.max(0, Math.min(...y))];
    Object.assign(box.style, {
      left: `${100 * left}%`, top: `${100 * top}%`,
      width: `${100 * (Math.min(1, Math.max(...x)) - left)}%`, height: `${100 * (Math.min(1, Math.max(...y)) - top)}%`,
    });
    found.append(box);
  });
  $("faces").replaceChildren(found);
  const faces = state.photos.flatMap((one) => one.quads.map((_, k) => [`${one.id}/${k}`, `${one.name}, face ${k + 1}`]));
  const chosen = $("second").value;
  $("second").replaceChildren(new Option("none", ""), ...faces.map(([value, text]) => new Option(text, value)));
  if (faces.some(([value]) => value === chosen)) $("second").value = chosen;
  drawPhoto();
}

function showSecond() {
  const mix = $("second-how").value === "mix";
  [$("layers-label").hidden, $("share-label").hidden, $("morph").hidden] = [!mix, mix, mix];
}

/* Clip */
const time = () => +$("time").value;
const edit = (name) => ((state.edits[state.who] ??= {})[name] ??= { value: 0, keys: [] });

function rows() {
  const found = [];
  for (const [who, directions] of Object.entries(state.edits)) {
    const plain = Object.entries(directions).filter(([, one]) => !one.keys.length && one.value);
    if (plain.length) found.push({ who, edits: Object.fromEntries(plain.map(([name, one]) => [name, one.value])) });
    for (const [name, one] of Object.entries(directions)) if (one.keys.length) found.push({ who, name, keys: one.keys });
  }
  return found;
}

const clipWanted = () => ({ time: time(), rows: rows(), out: $("clip-out").value });
const drawFrame = latest(async () => {
  if (!state.clip) return;
  say("Looking at this moment…");
  const drawn = await ask("frame", clipWanted());
  state.showFrame(drawn);
  lines($("clip-lines"), drawn.lines);
  say(state.clip.name);
});

function at(keys, when) {
  const after = keys.findIndex(([key]) => key >= when);
  if (after <= 0) return keys.at(after)[1];
  const [[t0, v0], [t1, v1]] = [keys[after - 1], keys[after]];
  return v0 + ((v1 - v0) * (when - t0)) / (t1 - t0);
}

function setKey(one, value) {
  one.keys = [...one.keys.filter(([when]) => when !== time()), [time(), value]].sort((a, b) => a[0] - b[0]);
}

function movedClip(name) {
  const one = edit(name), value = state.clipSliders.value(name);
  one.keys.length ? setKey(one, value) : (one.value = value);
  showClip();
  drawFrame();
}

function keyHere(name) {
  const one = edit(name), here = one.keys.some(([when]) => when === time());
  here ? (one.keys = one.keys.filter(([when]) => when !== time())) : setKey(one, state.clipSliders.value(name));
  showClip();
  drawFrame();
}

function showClip() {
  $("time-said").textContent = `${time().toFixed(2)} s`;
  const said = [];
  for (const name of Object.keys(state.directions)) {
    const one = (state.edits[state.who] ?? {})[name] ?? { value: 0, keys: [] };
    state.clipSliders.set(name, one.keys.length ? +at(one.keys, time()).toFixed(1) : one.value);
    if (one.keys.length) said.push(`${name}: ${one.keys.map(([when, value]) => `${value} at ${when} s`).join(", ")}`);
  }
  $("keys").textContent = said.join("; ") || "No keys: an edit is as strong all the time.";
}

function openClip(clip) {
  [state.clip, state.edits, state.who] = [clip, {}, ""];
  $("clip-said").textContent = `${clip.name}: ${clip.said}`;
  $("clip-open").hidden = false;
  Object.assign($("time"), { max: Math.max(0, clip.seconds - clip.step).toFixed(3), step: clip.step.toFixed(4), value: 0 });
  showWho(clip.people);
  showClip();
  drawFrame();
}

function showWho(people) {
  const some = people.map((one) => [String(one.number), `${one.number}`, one.picture]);
  const all = [["", "everybody"], ...some, ...(people.length ? [] : [["left", "left"], ["right", "right"], ["largest", "largest"]])];
  $("who").replaceChildren(
    ...all.map(([who, text, picture]) => {
      const pick = made("input", { type: "radio", name: "who", value: who, checked: who === state.who });
      pick.onchange = () => ((state.who = who), showClip());
      const inside = picture ? [made("img", { src: picture, alt: `person ${text}` })] : [];
      return made("label", {}, pick, ` ${text}`, ...inside);
    }),
  );
}

const takeClip = (files) =>
  tried(async () => {
    say(`${files[0].name}: reading…`);
    openClip(await put("clip", files[0]));
  });

/* Jobs */
function jobBox(job) {
  const box = made("div", { className: "job" });
  const running = job.running, done = job.exit_code === 0;
  const share = job.total ? `${job.done} of ${job.total}` : "";
  const text = running ? `${job.what} ${share}` : job.said;
  box.append(made("p", { className: "note", textContent: `${job.out}: ${text}` }));
  box.dataset.state = running ? "running" : done ? "done" : "stopped";
  if (running) box.append(made("progress", job.total ? { max: job.total, value: job.done, ariaLabel: job.what } : { ariaLabel: job.what }));
  if (running) box.append(made("button", { textContent: "Stop", onclick: () => tried(async () => (await ask("stop", { job: job.id }), watchJobs())) }));
  if (!running && !done) box.append(made("button", { textContent: "Go on", onclick: () => tried(async () => (await ask("go-on", { job: job.id }), watchJobs())) }));
  for (const line of job.problems ?? []) box.append(made("p", { className: "note", textContent: line }));
  const links = job.files.flatMap((file) => [made("a", { href: `/out/${job.id}/${encodeURIComponent(file)}`, textContent: file, target: "_blank" }), " "]);
  const few = links.length < 20;
  if (links.length) box.append(few ? made("p", {}, ...links) : made("details", {}, made("summary", { textContent: `${job.files.length} files` }), ...links));
  if (job.files.includes("index.html") && job.verb === "images")
    box.append(made("button", { textContent: "Show the results", onclick: () => showResult(job) }));
  return box;
}

function showResult(job) {
  $("result").src = `/out/${job.id}/index.html`;
  $("result").hidden = false;
}

async function watchJobs() {
  clearTimeout(state.timer);
  const { jobs } = await ask("jobs");
  for (const [verb, place] of [["video", "clip-jobs"], ["images", "batch-jobs"]]) {
    const focused = document.activeElement.closest(`#${place} .job`)?.querySelector("button:focus")?.textContent;
    $(place).replaceChildren(...jobs.filter((job) => job.verb === verb).map(jobBox));
    if (focused) [...$(place).querySelectorAll("button")].find((one) => one.textContent === focused)?.focus();
  }
  if (jobs.some((job) => job.running)) state.timer = setTimeout(() => tried(watchJobs), 700);
}

const begun = async (action, asked) => {
  await ask(action, asked);
  say("Started; a reload of the page does not stop it.");
  await watchJobs();
};

/* Batch */
const batchWanted = () => ({
  folder: $("batch-folder").value, out: $("batch-out").value, edits: state.batchSliders.values(),
  refine: $("batch-refine").value, mask: $("batch-mask").value, paste: $("batch-paste").checked,
});
const batchLines = latest(async () => {
  if ($("batch-folder").value) lines($("batch-lines"), (await ask("batch-lines", batchWanted())).lines);
});

/* Models */
async function showModels() {
  const { here, published } = await ask("models");
  $("models-here").replaceChildren(
    ...here.map((one) => {
      const lacks = one.lacks.map((line) => made("p", { className: "note", textContent: line }));
      return made("div", { className: "job" }, made("b", { textContent: one.name }), ` ${one.said} `,
        made("button", { textContent: "Use", ariaLabel: `use ${one.name}`, onclick: () => tried(async () => use(await ask("use-model", { model: one.name }))) }), ...lacks);
    }),
  );
  $("models-published").replaceChildren(
    ...published.map((one) => made("div", { className: "job" }, made("b", { textContent: one.name }), ` ${one.description}; ${one.licence} `,
      made("button", { textContent: "Pull", ariaLabel: `pull ${one.name}`, onclick: () => changed("add-model", { pull: one.name }) }))),
  );
}

const changed = (action, asked) =>
  tried(async () => {
    say("Working…");
    say((await ask(action, asked)).said);
    await showModels();
    if (action === "learn" && !asked.copy) use(await ask("use-model", { model: state.model }));
  });

/* All of it */
function use(told) {
  [state.model, state.directions, state.photos] = [told.model.name, told.model.directions, told.photos];
  $("model").textContent = told.model.repr;
  state.photoSliders = sliders($("photo-sliders"), drawPhoto);
  state.clipSliders = sliders($("clip-sliders"), movedClip, { auto: false, key: keyHere });
  state.batchSliders = sliders($("batch-sliders"), batchLines);
  $("directions").replaceChildren(
    ...Object.keys(state.directions).map((direction) => made("button", { textContent: direction, onclick: () => tried(async () => {
      $("direction-picture").src = (await ask("direction", { model: state.model, direction })).picture;
      $("direction-picture").hidden = false;
    }) })),
  );
  $("photo-view").hidden = !told.photos.length;
  state.photo = state.source = null;
  $("faces").replaceChildren();
  $("photos").replaceChildren();
  if (told.photos.length) pickPhoto(told.photos.at(-1));
  if (told.clip) openClip(told.clip);
  say(`${told.model.name} is ready: drop a photo or a clip.`);
}

function showTab(tab) {
  for (const one of document.querySelectorAll("[role=tab]")) {
    one.setAttribute("aria-selected", one === tab);
    one.tabIndex = one === tab ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = one !== tab;
  }
  tab.focus();
  if (tab.id === "tab-models") tried(showModels);
}

function ready() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  tabs.forEach((tab, k) => {
    tab.onclick = () => showTab(tab);
    tab.onkeydown = ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (step) showTab(tabs[(k + step + tabs.length) % tabs.length]);
    };
  });
  const refine = [["none", "not"], ["latent:50", "latent, 50 steps"], ["generator:20", "generator, 20 steps"], ["latent:50,generator:20", "both"]];
  const mask = [["", "everywhere"], ["auto", "where they change much"], ["face", "on the face"]];
  for (const view of ["photo", "batch"])
    for (const [name, words] of [["refine", refine], ["mask", mask]])
      $(`${view}-${name}`).append(...words.map(([value, text]) => new Option(text, value)));
  state.showPhoto = wipe($("photo-view"), "the picked faces");
  state.showFrame = wipe($("clip-view"), "the frame");
  drop($("photo-file"), takePhotos);
  drop($("clip-file"), takeClip);
  for (const one of [...document.querySelectorAll("[name=view]"), ...["photo-refine", "photo-mask", "second", "layers", "share"].map($)]) one.onchange = drawPhoto;
  $("second-how").onchange = () => (showSecond(), drawPhoto());
  showSecond();
  const onclick = (id, work) => ($(id).onclick = () => tried(work));
  onclick("photo-save", () => download("save", wanted()));
  onclick("photo-latent", () => download("latent", wanted()));
  onclick("morph", async () => {
    $("morph-picture").src = (await ask("morph", wanted())).url;
    $("morph-picture").hidden = false;
  });
  $("time").oninput = showClip;
  $("time").onchange = drawFrame;
  onclick("people", async () => {
    say("Looking for people…");
    state.clip.people = (await ask("people")).people;
    showWho(state.clip.people);
    await drawFrame();
  });
  onclick("preview", async () => {
    say("Drawing the preview…");
    const end = Math.min(time() + +$("preview-seconds").value, state.clip.seconds);
    const start = Math.min(time(), Math.max(0, end - 0.2));
    $("preview-video").src = (await ask("preview", { ...clipWanted(), start, end })).url;
    $("preview-video").hidden = false;
    await $("preview-video").play();
    say("The preview plays; nothing is written before Export.");
  });
  onclick("settings", () => download("edits", clipWanted()));
  onclick("clip-run", () => download("settings", clipWanted()));
  onclick("photo-run", () => download("settings", wanted()));
  onclick("batch-run", () => download("settings", batchWanted()));
  const onsubmit = (id, work) => ($(id).onsubmit = (event) => (event.preventDefault(), tried(work)));
  onsubmit("clip-form", async () => openClip(await ask("clip", { path: $("clip-path").value })));
  onsubmit("export-form", () => begun("export", clipWanted()));
  onsubmit("batch-form", () => begun("batch", batchWanted()));
  onsubmit("add-form", () => changed("add-model", { path: $("add-path").value, name: $("add-name").value, gan: $("add-gan").value }));
  onsubmit("learn-form", () => changed("learn", { model: state.model, method: $("learn-method").value, count: +$("learn-count").value, copy: $("learn-copy").value }));
  $("batch-form").onchange = batchLines;
  tried(async () => (use(await ask("state")), await watchJobs()));
}
ready();
