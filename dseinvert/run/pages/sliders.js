"use strict";
const frames = JSON.parse(document.getElementById("frames").textContent);
const form = document.getElementById("sliders"), picture = document.getElementById("picture");
const sliders = [...form.querySelectorAll("input")];
const start = picture.src;
const loaded = frames.flat().map((src) => Object.assign(new Image(), { src }));

function tell(slider) {
  const strength = slider.dataset.strengths.split(" ")[slider.value];
  slider.setAttribute("aria-valuetext", strength);
  slider.parentNode.querySelector("output").textContent = strength;
  slider.parentNode.classList.toggle("moved", slider.value !== slider.defaultValue);
  return strength;
}

// One direction at a time: what all of them do together was not drawn
function show(slider) {
  for (const other of sliders) {
    if (other !== slider) other.value = other.defaultValue;
    tell(other);
  }
  picture.src = slider ? frames[sliders.indexOf(slider)][slider.value] : start;
  const said = slider ? `${slider.name} ${tell(slider)}` : "as it is";
  document.getElementById("now").textContent = said;
  picture.alt = `${document.querySelector("h1").textContent}, ${said}`;
}

form.addEventListener("input", (event) => show(event.target));
form.addEventListener("reset", (event) => { event.preventDefault(); show(null); });
form.addEventListener("submit", (event) => event.preventDefault());
show(null);
