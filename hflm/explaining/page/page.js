"use strict";
// Draws the maps and arcs. Text of the model comes in by textContent and fillText alone.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const FONT = getComputedStyle(document.body).fontFamily;
  const chosen = { view: 0, layer: data.start[0], head: data.start[1], row: null };

  const unpack = (view) => {
    const text = atob(view.data);
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    view.weights = Float32Array.from(bytes, (byte) => (byte / 255) ** 2);
    view.size = view.rows.length * view.columns.length;
    view.at = (layer, head, row, column) =>
      view.weights[(layer * view.heads + head) * view.size + row * view.columns.length + column];
  };
  data.views.forEach(unpack);
  unpack(data.rollout);

  const short = (text, most) => {
    const letters = Array.from(text);
    return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : text;
  };
  const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const parse = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
  const say = (text, where = "said") => { byId(where).textContent = text; };
  // First strong isolates: each token keeps its own direction within the sentence.
  const quote = (text) => `\u2068${text}\u2069`;

  // A colour for a weight: its square root, so that small weights can be told apart.
  const ramp = () => {
    const low = parse(colour("--low")), high = parse(colour("--high"));
    return (weight) => {
      const share = Math.sqrt(Math.min(weight, 1));
      return low.map((from, part) => Math.round(from + (high[part] - from) * share));
    };
  };

  const canvasOf = (id, width, height) => {
    const canvas = byId(id), scale = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    return [canvas, pen];
  };

  // The weights of a head as a picture of one pixel a cell.
  const picture = (view, layer, head) => {
    const small = document.createElement("canvas");
    small.width = view.columns.length;
    small.height = view.rows.length;
    const pen = small.getContext("2d"), shade = ramp();
    const pixels = pen.createImageData(small.width, small.height);
    const from = (layer * view.heads + head) * view.size;
    for (let cell = 0; cell < view.size; cell++) {
      const [red, green, blue] = shade(view.weights[from + cell]);
      pixels.data.set([red, green, blue, 255], cell * 4);
    }
    pen.putImageData(pixels, 0, 0);
    return small;
  };

  // A map with names at its edges; returns where its cells are.
  const drawMap = (id, view, layer, head) => {
    const rows = view.rows.length, columns = view.columns.length;
    const room = byId(id).parentElement.clientWidth || 500;
    const longest = Math.min(Math.max(...view.rows.map((name) => Array.from(name).length), 3), 14);
    const left = longest * 8 + 10, top = Math.min(longest, 12) * 7 + 14;
    // Cells as large as the page has room for, and never too small to point at: then the map scrolls.
    const cell = Math.max(columns > 64 ? 5 : 11, Math.min(34, Math.floor((room - left - 24) / columns)));
    const [canvas, pen] = canvasOf(id, left + columns * cell + 28, top + rows * cell + 4);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(picture(view, layer, head), left, top, columns * cell, rows * cell);
    pen.strokeStyle = colour("--line");
    pen.strokeRect(left - 0.5, top - 0.5, columns * cell + 1, rows * cell + 1);
    pen.fillStyle = colour("--ink");
    const every = Math.max(1, Math.ceil(11 / cell));
    pen.font = `${Math.min(13, Math.max(10, cell * every - 2))}px ${FONT}`;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (let row = 0; row < rows; row += every)
      pen.fillText(quote(short(view.rows[row], 14)), left - 6, top + (row + 0.5) * cell * 1);
    pen.textAlign = "left";
    for (let column = 0; column < columns; column += every) {
      pen.save();
      pen.translate(left + (column + 0.5) * cell, top - 5);
      pen.rotate(-Math.PI / 3);
      pen.fillText(quote(short(view.columns[column], 12)), 0, 0);
      pen.restore();
    }
    const locate = (event) => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor((event.clientX - box.left - left) / cell);
      const row = Math.floor((event.clientY - box.top - top) / cell);
      return row >= 0 && column >= 0 && row < rows && column < columns ? [row, column] : null;
    };
    const tell = (event) => {
      const found = locate(event);
      if (!found) return;
      const [row, column] = found;
      const weight = percent(view.at(layer, head, row, column));
      if (id === "flow")
        say(`${weight} of ${quote(view.rows[row])} comes from ${quote(view.columns[column])}`, "flow-said");
      else say(`${quote(view.rows[row])} looks at ${quote(view.columns[column])}: ${weight}`);
    };
    canvas.onmousemove = tell;
    canvas.onclick = (event) => {
      tell(event);
      const found = locate(event);
      if (found && id === "map") { chosen.row = found[0]; drawArcs(); }
    };
  };

  const SVG = "http://www.w3.org/2000/svg";
  const element = (name, given) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
    return made;
  };

  const drawArcs = () => {
    const view = data.views[chosen.view], svg = byId("arcs");
    const rows = view.rows.length, columns = view.columns.length, step = 22;
    const width = Math.max(280, Math.min(svg.parentElement.clientWidth || 420, 520));
    const left = 118, right = width - 118, height = Math.max(rows, columns) * step + 12;
    svg.replaceChildren();
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    // Of a row only what weighs something: a text of 100 tokens has 10,000 lines.
    for (let row = 0; row < rows; row++) {
      if (chosen.row !== null && chosen.row !== row) continue;
      const weights = view.columns.map((_, column) => view.at(chosen.layer, chosen.head, row, column));
      const most = chosen.row === null ? 4 : 40;
      const order = weights.map((weight, column) => [weight, column]).sort((a, b) => b[0] - a[0]).slice(0, most);
      for (const [weight, column] of order) {
        if (weight < (chosen.row === null ? 0.05 : 0.004)) continue;
        const from = row * step + 16, to = column * step + 16, middle = (left + right) / 2;
        svg.append(element("path", {
          d: `M${left},${from} C${middle},${from} ${middle},${to} ${right},${to}`,
          "stroke-width": (0.6 + weight * 4).toFixed(2), "stroke-opacity": Math.min(0.15 + weight, 1).toFixed(2),
        }));
      }
    }
    const label = (text, x, y, anchor, row) => {
      const made = element("text", { x, y: y + 20, "text-anchor": anchor });
      made.textContent = quote(short(text, 14));
      if (row !== null) {
        made.setAttribute("class", chosen.row === row ? "left picked" : "left");
        made.setAttribute("tabindex", "0");
        made.setAttribute("role", "button");
        const pick = () => {
          chosen.row = chosen.row === row ? null : row;
          drawArcs();
          if (chosen.row !== null) {
            const weights = view.columns.map((_, column) => view.at(chosen.layer, chosen.head, row, column));
            const order = weights.map((_, column) => column).sort((a, b) => weights[b] - weights[a]).slice(0, 5);
            const list = order.map((column) => `${quote(view.columns[column])} ${percent(weights[column])}`).join(", ");
            say(`${quote(text)} looks at ${list}`);
          }
        };
        made.addEventListener("click", pick);
        made.addEventListener("keydown", (event) => {
          if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(); }
        });
      }
      svg.append(made);
    };
    view.rows.forEach((text, row) => label(text, left - 8, row * step, "end", row));
    view.columns.forEach((text, column) => label(text, right + 8, column * step, "start", null));
  };

  const drawHeads = () => {
    const view = data.views[chosen.view];
    const room = (byId("heads").parentElement.clientWidth || 900) - 30;
    const cell = Math.max(24, Math.min(64, Math.floor(room / view.heads) - 5)), gap = 5, edge = 26;
    const [canvas, pen] = canvasOf("heads", edge + view.heads * (cell + gap), 18 + view.layers * (cell + gap));
    pen.imageSmoothingEnabled = view.rows.length > cell;
    pen.font = `11px ${FONT}`;
    pen.fillStyle = colour("--soft");
    pen.textBaseline = "middle";
    for (let head = 0; head < view.heads; head++) pen.fillText(head + 1, edge + head * (cell + gap) + cell / 2 - 4, 8);
    for (let layer = 0; layer < view.layers; layer++) {
      const y = 18 + layer * (cell + gap);
      pen.fillStyle = colour("--soft");
      pen.fillText(layer + 1, 4, y + cell / 2);
      for (let head = 0; head < view.heads; head++) {
        const x = edge + head * (cell + gap), mine = layer === chosen.layer && head === chosen.head;
        pen.drawImage(picture(view, layer, head), x, y, cell, cell);
        pen.lineWidth = mine ? 3 : 1;
        pen.strokeStyle = colour(mine ? "--against" : "--line");
        pen.strokeRect(x - 0.5, y - 0.5, cell + 1, cell + 1);
      }
    }
    canvas.onclick = (event) => {
      const box = canvas.getBoundingClientRect();
      const head = Math.floor((event.clientX - box.left - edge) / (cell + gap));
      const layer = Math.floor((event.clientY - box.top - 18) / (cell + gap));
      if (head >= 0 && layer >= 0 && head < view.heads && layer < view.layers) choose({ layer, head });
    };
    canvas.onkeydown = (event) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!move) return;
      event.preventDefault();
      const within = (value, most) => Math.max(0, Math.min(most - 1, value));
      choose({ layer: within(chosen.layer + move[0], view.layers), head: within(chosen.head + move[1], view.heads) });
    };
  };

  const fill = (id, count, picked) => {
    const select = byId(id);
    select.replaceChildren(...Array.from({ length: count }, (_, number) => new Option(number + 1, number)));
    select.value = picked;
  };

  const draw = () => {
    const view = data.views[chosen.view];
    drawHeads();
    drawMap("map", view, chosen.layer, chosen.head);
    drawArcs();
    drawMap("flow", data.rollout, 0, 0);
    for (const place of document.querySelectorAll(".chosen"))
      place.textContent = `layer ${chosen.layer + 1}, head ${chosen.head + 1}`;
  };

  const choose = (change) => {
    Object.assign(chosen, change);
    const view = data.views[chosen.view];
    chosen.layer = Math.min(chosen.layer, view.layers - 1);
    chosen.head = Math.min(chosen.head, view.heads - 1);
    if ("view" in change) chosen.row = null;
    fill("layer", view.layers, chosen.layer);
    fill("head", view.heads, chosen.head);
    draw();
  };

  const names = byId("view");
  names.replaceChildren(...data.views.map((view, number) => new Option(view.title, number)));
  byId("view-label").hidden = data.views.length < 2;
  names.onchange = () => choose({ view: Number(names.value) });
  byId("layer").onchange = () => choose({ layer: Number(byId("layer").value) });
  byId("head").onchange = () => choose({ head: Number(byId("head").value) });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let waiting = 0, width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(draw, 150);
  });
  choose({});
})();
