// Attention of one head as a heat map, chosen by member, prompts, layer, head and training step. No library, no network.
"use strict";
(() => {
  const GREYS = [[255, 255, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]];
  const SIGNED = [[127, 59, 8], [224, 130, 20], [255, 255, 255], [128, 115, 172], [45, 0, 75]];
  const LEVELS = 127;

  function colour(stops, share) {
    const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    const mixed = stops[low].map((value, i) => Math.round(value + (place - low) * (stops[low + 1][i] - value)));
    return `rgb(${mixed.join(",")})`;
  }

  function element(name, attributes, parent, text) {
    const made = document.createElementNS(parent.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  }

  const shown = (value) => (value === 0 ? "0" : Math.abs(value) < 0.0005 ? value.toExponential(1) : value.toPrecision(3));
  const short = (text) => (text.length > 22 ? text.slice(0, 21) + "…" : text);

  function start(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const bytes = Int8Array.from(atob(data.values), (letter) => letter.charCodeAt(0));
    const count = data.tokens.length, steps = data.steps.length, looks = data.looks.length;
    const control = Object.fromEntries([...root.querySelectorAll("[name]")].map((each) => [each.name, each]));
    const readout = root.querySelector(".readout"), svg = root.querySelector(".map");
    const side = Math.max(9, Math.min(26, Math.floor(470 / count)));
    const longest = Math.max(...data.tokens.concat(...data.texts.flat()).map((text) => short(text).length));
    const margin = Math.max(110, 16 + 5.6 * longest), above = 32 + 5.6 * longest;
    const extent = side * count;
    const width = margin + extent + 110;
    const frame = { viewBox: `0 0 ${width} ${above + extent + 26}`, width, tabindex: 0, role: "application" };
    for (const [key, value] of Object.entries(frame)) svg.setAttribute(key, value);
    element("text", { x: margin + extent / 2, y: 11, class: "axis", "text-anchor": "middle" }, svg, "attended token →");
    element("text", { x: margin - 5, y: above - 8, class: "axis", "text-anchor": "end" }, svg, "token that looks ↓");
    const across = [], down = [], cells = [];
    for (let i = 0; i < count; i++) {
      const middle = (i + 0.5) * side + 3;
      const x = margin + middle;
      across.push(element("text", { x, y: above - 5, transform: `rotate(-90 ${x} ${above - 5})`, class: "tick" }, svg));
      down.push(element("text", { x: margin - 5, y: above + middle, "text-anchor": "end", class: "tick" }, svg));
    }
    for (let row = 0; row < count; row++) {
      for (let key = 0; key < count; key++) {
        const place = { x: margin + key * side, y: above + row * side, width: side, height: side };
        cells.push(element("rect", { ...place, class: "cell", "data-row": row, "data-key": key }, svg));
      }
    }
    element("rect", { x: margin, y: above, width: extent, height: extent, class: "frame" }, svg);
    const cursor = element("rect", { width: side, height: side, class: "cursor" }, svg);
    const bar = { x: margin + extent + 26, height: Math.min(extent, 200) };
    for (let i = 0; i < 50; i++) {
      const y = above + (bar.height * i) / 50;
      const stops = data.signed ? SIGNED : GREYS;
      element("rect", { x: bar.x, y, width: 13, height: bar.height / 50 + 0.6, fill: colour(stops, 1 - i / 49) }, svg);
    }
    element("text", { x: bar.x - 6, y: above - 8, class: "axis" }, svg, "weight");
    const ends = [0, 0.5, 1].map((share) =>
      element("text", { x: bar.x + 18, y: above + 4 + share * (bar.height - 2), class: "tick bar" }, svg));
    let at = { row: count - 1, key: 0 }, values = [];

    function chosen() {
      return Object.fromEntries(Object.entries(control).map(([name, each]) => [name, Number(each.value)]));
    }

    function draw() {
      const { member, look, layer, head, step } = chosen();
      const row = ((((member * looks + look) * steps + step) * data.layers + layer) * data.heads + head);
      const unit = data.scales[member][look][step] / LEVELS;
      values = Array.from(bytes.subarray(row * count * count, (row + 1) * count * count), (level) => level * unit);
      // One scale for all heads and steps of a member, so that colours may be compared while sliding.
      const top = Math.max(...data.scales[member][look]) || 1;
      const stops = data.signed ? SIGNED : GREYS;
      cells.forEach((cell, i) => {
        // By the root of the weight: most weights are small ones.
        const share = Math.sign(values[i]) * Math.sqrt(Math.abs(values[i]) / top);
        cell.setAttribute("fill", colour(stops, data.signed ? (share + 1) / 2 : share));
        cell.setAttribute("data-value", values[i].toPrecision(4));
      });
      const texts = look > 0 ? data.texts[member][look - 1] : data.tokens;
      texts.forEach((text, i) => { across[i].textContent = short(text); down[i].textContent = short(text); });
      [top, data.signed ? 0 : top / 4, data.signed ? -top : 0].forEach((value, i) => { ends[i].textContent = shown(value); });
      const told = { layer: String(layer), head: String(head), step: String(data.steps[step]) };
      for (const [name, text] of Object.entries(told)) {
        control[name].nextElementSibling.textContent = text;
        control[name].setAttribute("aria-valuetext", text);
      }
      svg.setAttribute("aria-label", `Attention of ${data.title}, ${data.members[member]}, ${data.looks[look]}, layer ` +
        `${told.layer}, head ${told.head}, after step ${told.step}. Arrow keys move from token to token.`);
      point(at.row, at.key);
    }

    function point(row, key) {
      at = { row: Math.min(Math.max(row, 0), count - 1), key: Math.min(Math.max(key, 0), count - 1) };
      cursor.setAttribute("x", margin + at.key * side);
      cursor.setAttribute("y", above + at.row * side);
      const { member, look } = chosen();
      const texts = look > 0 ? data.texts[member][look - 1] : data.tokens;
      readout.textContent = `${texts[at.row]} looks at ${texts[at.key]}: weight ${shown(values[at.row * count + at.key])}`;
    }

    for (const each of Object.values(control)) each.addEventListener("input", draw);
    svg.addEventListener("mousemove", (event) => {
      const cell = event.target.closest(".cell");
      if (cell) point(Number(cell.dataset.row), Number(cell.dataset.key));
    });
    svg.addEventListener("keydown", (event) => {
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!move) return;
      event.preventDefault();
      point(at.row + move[0], at.key + move[1]);
    });
    draw();
  }

  document.querySelectorAll(".viewer").forEach(start);
})();
