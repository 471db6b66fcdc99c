"use strict";
const $ = (id) => document.getElementById(id);
const grid = $("faces"), cards = [...grid.children];
cards.forEach((card, index) => { card.dataset.index = index; });

// Order and search

function shown() {
  return [...grid.children].filter((card) => !card.hidden);
}

function arrange() {
  const metric = $("sort").value, reverse = $("order").getAttribute("aria-pressed") === "true";
  const value = (card) => Number(metric ? card.dataset[metric] : card.dataset.index);
  cards.sort((a, b) => (value(a) - value(b)) * (reverse ? -1 : 1));
  grid.append(...cards);
}

function search() {
  const wanted = $("search").value.trim().toLowerCase();
  for (const card of cards) card.hidden = !card.textContent.toLowerCase().includes(wanted);
  $("count").textContent = wanted ? `${shown().length} of ${cards.length}` : "";
}

$("sort").addEventListener("change", arrange);
$("search").addEventListener("input", search);
$("order").addEventListener("click", () => {
  const pressed = $("order").getAttribute("aria-pressed") !== "true";
  $("order").setAttribute("aria-pressed", pressed);
  $("order").textContent = pressed ? "↓" : "↑";
  arrange();
});

// The viewer: the input above one of the other pictures, cut at the slider

const viewer = $("viewer");
let card = null, role = 1;

const pictures = (of) => [...of.querySelectorAll(".picture")];
const caption = (figure) => figure.querySelector("figcaption").textContent;

function draw() {
  const figures = pictures(card);
  role = Math.min(Math.max(role, 1), figures.length - 1);
  $("viewer-title").textContent = card.dataset.name;
  $("viewer-numbers").replaceChildren(...card.querySelector(".numbers").cloneNode(true).childNodes);
  $("before").src = figures[0].querySelector("img")?.src ?? "";
  $("after").src = figures[role].querySelector("img")?.src ?? "";
  $("after-name").textContent = caption(figures[role]);
  $("choices").replaceChildren(...figures.slice(1).map((figure, index) => {
    const button = document.createElement("button");
    button.textContent = caption(figure);
    button.setAttribute("aria-pressed", index + 1 === role);
    button.addEventListener("click", () => { role = index + 1; draw(); });
    return button;
  }));
}

function open(at, which) {
  card = at;
  role = which;
  draw();
  if (!viewer.open) viewer.showModal();
  $("position").focus();
}

function step(by) {
  const list = shown();
  card = list[(list.indexOf(card) + by + list.length) % list.length];
  draw();
}

grid.addEventListener("click", (event) => {
  const figure = event.target.closest(".picture");
  if (!figure || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const at = figure.closest("article");
  open(at, pictures(at).indexOf(figure));
});
$("position").addEventListener("input", () => {
  $("slider").style.setProperty("--x", `${$("position").value}%`);
});
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer.addEventListener("keydown", (event) => {
  if (event.key === "ArrowUp" || event.key === "PageUp") step(-1);
  else if (event.key === "ArrowDown" || event.key === "PageDown") step(1);
  else return;
  event.preventDefault();
});

// index.html#NAME opens the viewer at that face, #NAME/EDIT at that picture of it
const asked = decodeURIComponent(location.hash.slice(1)).split("/");
const target = asked[0] && cards.find((one) => one.dataset.name === asked[0]);
if (target) open(target, asked[1] ? pictures(target).findIndex((f) => caption(f) === asked[1]) : 1);
