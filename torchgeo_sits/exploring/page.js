'use strict';
// The page of torchgeo-sits explore: tiles on a canvas, and everything else asked of the server.
const about = JSON.parse(document.getElementById('about').textContent);
const token = new URLSearchParams(location.search).get('token');
const $ = (id) => document.getElementById(id);
const TILE = 256, KEPT = 600, POLL = 1500;

let state = { version: -1, classes: [], labels: [], has_map: false, held_out: {}, map: {} };
let view = { x: about.width / 2, y: about.height / 2, k: 1 }; // pixel in the middle, screen pixels per pixel
let tool = 'ask', chosen = null, place = null, rests = null, drawn = [], hint = null, split = 0.5;
const skipped = []; // suggestions that were passed over

// -- the server ---------------------------------------------------------------------------------

async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'X-Token': token, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error('The server does not answer. Labels are saved in ' + about.folder +
      '; start torchgeo-sits explore again with this session.');
  }
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

async function told(work) {
  try { return await work(); } catch (error) { say(error.message); return null; }
}

function say(text) {
  $('message').textContent = text;
  $('message').hidden = !text;
}

async function change(path, body) {
  const answer = await told(() => ask(path, body));
  if (answer) { say(''); take(await answer.json()); }
  return answer !== null;
}

async function poll() {
  try {
    take(await (await ask('state')).json());
    if ($('message').textContent.startsWith('The server does not answer')) say('');
  } catch (error) { say(error.message); }
  setTimeout(poll, POLL);
}

// -- tiles --------------------------------------------------------------------------------------

const tiles = new Map(), last = new Map(); // by address; and by layer and place, whatever their state

function address(layer) {
  if (layer === 'image') return { date: $('date').value, picture: $('picture').value, marked: +$('marked').checked };
  if (layer === 'similarity') return place ? { at: place.row + ',' + place.column } : null;
  if (layer === 'map' || layer === 'certainty') return state.has_map ? { version: state.version } : null;
  return {};
}

function tile(layer, asked, level, row, column) {
  const where = [layer, level, row, column].join('/');
  const key = where + '?' + new URLSearchParams(asked);
  let found = tiles.get(key);
  if (!found) {
    found = { image: null };
    tiles.set(key, found);
    if (tiles.size > KEPT) tiles.delete(tiles.keys().next().value);
    ask('tile/' + key).then((answer) => answer.blob()).then(createImageBitmap).then((image) => {
      found.image = image;
      last.set(where, image);
      if (last.size > KEPT) last.delete(last.keys().next().value);
      redraw();
    }).catch((error) => { tiles.delete(key); say(error.message); });
  }
  return found.image || last.get(where) || null;
}

function drawLayer(pen, layer, size) {
  const asked = address(layer);
  if (!asked) return;
  const level = Math.max(0, Math.min(about.levels - 1, Math.round(Math.log2(1 / view.k))));
  const side = TILE * 2 ** level;
  const [left, top] = toMap(0, 0), [right, bottom] = toMap(size.width, size.height);
  const rows = Math.ceil(about.height / side), columns = Math.ceil(about.width / side);
  pen.imageSmoothingEnabled = view.k < 1;
  for (let row = Math.max(0, Math.floor(top / side)); row < Math.min(rows, bottom / side); row++) {
    for (let column = Math.max(0, Math.floor(left / side)); column < Math.min(columns, right / side); column++) {
      const image = tile(layer, asked, level, row, column);
      if (!image) continue;
      const [x, y] = toScreen(column * side, row * side);
      const [x1, y1] = toScreen(Math.min((column + 1) * side, about.width), Math.min((row + 1) * side, about.height));
      pen.drawImage(image, x, y, x1 - x, y1 - y);
    }
  }
}

// -- the map ------------------------------------------------------------------------------------

const toScreen = (x, y) => {
  const { clientWidth: w, clientHeight: h } = $('map');
  return [(x - view.x) * view.k + w / 2, (y - view.y) * view.k + h / 2];
};
const toMap = (x, y) => {
  const { clientWidth: w, clientHeight: h } = $('map');
  return [(x - w / 2) / view.k + view.x, (y - h / 2) / view.k + view.y];
};

function fit() {
  const { clientWidth: w, clientHeight: h } = $('map');
  view = { x: about.width / 2, y: about.height / 2, k: 0.95 * Math.min(w / about.width, h / about.height) };
}

function zoom(factor, x, y) {
  const [mx, my] = toMap(x, y);
  const least = 0.3 * Math.min($('map').clientWidth / about.width, $('map').clientHeight / about.height);
  view.k = Math.max(least, Math.min(64, view.k * factor));
  const [nx, ny] = toMap(x, y);
  view.x += mx - nx;
  view.y += my - ny;
  redraw();
}

let waiting = false;
function redraw() {
  if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); }
}

function prepared(canvas) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

function draw() {
  const { pen, width, height } = prepared($('map'));
  const size = { width, height };
  drawLayer(pen, $('below').value, size);
  const above = $('above').value;
  $('swipe').hidden = !above;
  if (above) {
    $('swipe').style.left = split * 100 + '%';
    pen.save();
    pen.beginPath();
    pen.rect(split * width, 0, width, height);
    pen.clip();
    pen.globalAlpha = $('opacity').value / 100;
    drawLayer(pen, above, size);
    pen.restore();
  }
  const colours = Object.fromEntries(state.classes.map((one) => [one.name, one.colour]));
  for (const label of state.labels) outline(pen, label.shape, colours[label.name]);
  if (drawn.length) {
    const colour = state.classes.find((one) => one.name === chosen)?.colour || '#fff';
    outline(pen, { type: 'LineString', coordinates: drawn }, colour);
  }
  if (place) cross(pen, place.column + 0.5, place.row + 0.5, '#fff', false);
  if (hint) cross(pen, hint.column + 0.5, hint.row + 0.5, '#ff2d95', true);
}

function outline(pen, shape, colour) {
  if (shape.type === 'Point') {
    const [x, y] = toScreen(...shape.coordinates);
    pen.beginPath();
    pen.arc(x, y, 6, 0, 7);
    pen.fillStyle = colour;
    pen.fill();
    pen.lineWidth = 2;
    pen.strokeStyle = '#fff';
    pen.stroke();
    return;
  }
  const open = shape.type === 'LineString';
  const polygons = open ? [[shape.coordinates]] : shape.type === 'Polygon' ? [shape.coordinates] : shape.coordinates;
  pen.beginPath();
  for (const ring of polygons.flat()) {
    ring.forEach((at, i) => pen[i ? 'lineTo' : 'moveTo'](...toScreen(...at)));
    if (!open) pen.closePath();
  }
  for (const [w, c] of [[5, '#fff'], [3, colour]]) { pen.lineWidth = w; pen.strokeStyle = c; pen.stroke(); }
}

function cross(pen, x, y, colour, round) {
  const [sx, sy] = toScreen(x, y), half = Math.max(view.k / 2, 7);
  for (const [w, c] of [[4, '#000'], [2, colour]]) {
    pen.lineWidth = w;
    pen.strokeStyle = c;
    pen.beginPath();
    if (round) pen.arc(sx, sy, half + 5, 0, 7); else pen.rect(sx - half, sy - half, 2 * half, 2 * half);
    pen.stroke();
  }
}

// -- mouse, fingers and keys --------------------------------------------------------------------

let press = null;
$('map').addEventListener('pointerdown', (event) => {
  press = { x: event.offsetX, y: event.offsetY, view: { ...view }, moved: false };
  $('map').setPointerCapture(event.pointerId);
});
$('map').addEventListener('pointermove', (event) => {
  const [x, y] = toMap(event.offsetX, event.offsetY).map(Math.floor);
  $('where').textContent = 'column ' + x + ', row ' + y;
  if (!press) return;
  const dx = event.offsetX - press.x, dy = event.offsetY - press.y;
  press.moved ||= Math.hypot(dx, dy) > 4;
  if (!press.moved) return;
  view.x = press.view.x - dx / view.k;
  view.y = press.view.y - dy / view.k;
  redraw();
});
$('map').addEventListener('pointerup', (event) => {
  const click = press && !press.moved;
  press = null;
  if (click) clicked(...toMap(event.offsetX, event.offsetY));
});
$('map').addEventListener('wheel', (event) => {
  event.preventDefault();
  zoom(2 ** (-event.deltaY / 300), event.offsetX, event.offsetY);
}, { passive: false });
$('map').addEventListener('keydown', (event) => {
  const step = 60 / view.k, { clientWidth: w, clientHeight: h } = $('map');
  if (event.key === 'ArrowLeft') view.x -= step;
  else if (event.key === 'ArrowRight') view.x += step;
  else if (event.key === 'ArrowUp') view.y -= step;
  else if (event.key === 'ArrowDown') view.y += step;
  else if (event.key === '+') zoom(1.5, w / 2, h / 2);
  else if (event.key === '-') zoom(1 / 1.5, w / 2, h / 2);
  else if (event.key === 'Escape') { drawn = []; say(''); }
  else if (event.key === 'Enter' && drawn.length > 2) closePolygon();
  else return;
  event.preventDefault();
  redraw();
});
let pull = null;
$('swipe').addEventListener('pointerdown', (event) => {
  pull = { x: event.clientX, moved: false };
  $('swipe').setPointerCapture(event.pointerId);
});
$('swipe').addEventListener('pointerup', (event) => {
  const box = $('map').getBoundingClientRect();
  // What lies under the line can be clicked, too.
  if (pull && !pull.moved) clicked(...toMap(event.clientX - box.left, event.clientY - box.top));
  pull = null;
});
$('swipe').addEventListener('pointermove', (event) => {
  if (!pull) return;
  pull.moved ||= Math.abs(event.clientX - pull.x) > 4;
  if (!pull.moved) return;
  const box = $('map').getBoundingClientRect();
  split = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  redraw();
});

function clicked(x, y) {
  if (tool === 'ask') { look(Math.floor(y), Math.floor(x)); return; }
  if (!chosen) { say('Add a class first, and choose it.'); return; }
  if (tool === 'point') { label({ type: 'Point', coordinates: [x, y] }); return; }
  const [sx, sy] = toScreen(x, y);
  const [fx, fy] = drawn.length ? toScreen(...drawn[0]) : [Infinity, Infinity];
  if (drawn.length > 2 && Math.hypot(sx - fx, sy - fy) < 10) closePolygon();
  else drawn.push([x, y]);
  say(drawn.length ? 'Click the first corner again, or press Enter, to close the polygon; Escape drops it.' : '');
  redraw();
}

function closePolygon() {
  const ring = [...drawn, drawn[0]];
  drawn = [];
  say('');
  label({ type: 'Polygon', coordinates: [ring] });
}

async function label(geometry) {
  const before = state.has_map;
  hint = null;
  if (await change('labels', { name: chosen, geometry }) && state.has_map && !before && ['', 'embedding'].includes($('above').value)) {
    $('above').value = 'map';
    refreshLegend();
  }
  redraw();
}

// -- what is known of a place -------------------------------------------------------------------

async function look(row, column) {
  const answer = await told(() => ask('place/' + row + '/' + column));
  if (!answer) return;
  say('');
  place = await answer.json();
  rests = null;
  describe();
  redraw();
}

function describe() {
  if (!place) return;
  const [longitude, latitude] = place.degrees;
  const lines = ['column ' + place.column + ', row ' + place.row + ' · ' + latitude.toFixed(5) + ', ' + longitude.toFixed(5)];
  const found = Object.entries(place.probabilities || {}).sort((a, b) => b[1] - a[1]).slice(0, 3);
  if (found.length) lines.push(found.map(([name, p]) => name + ' ' + Math.round(100 * p) + ' %').join(', '));
  if (rests) lines.push('bars: without this date the evidence for ' + rests.name + ' is less (orange) or more (green)');
  $('place').textContent = lines.join(' — ');
  const bands = Object.keys(place.series), before = $('band').value;
  if ($('band').children.length !== bands.length) options('band', bands.map((name) => [name, name]));
  if (bands.includes(before)) $('band').value = before;
  $('explain').hidden = !(about.explains && state.has_map);
  plot();
}

function plot() {
  const { pen, width, height } = prepared($('plot'));
  if (!place || !place.times.length) return;
  const style = getComputedStyle(document.body), ink = style.color;
  const values = place.series[$('band').value] || [], times = place.times;
  const seen = values.filter((v, i) => v !== null && place.clear[i]);
  const all = seen.length > 1 ? seen : values.filter((v) => v !== null);
  if (!all.length) return;
  let low = Math.min(...all), high = Math.max(...all);
  if (low === high) { low -= 1; high += 1; }
  const margin = { left: 44, right: 8, top: 8, bottom: 20 };
  const first = times[0], span = Math.max(times[times.length - 1] - first, 1);
  const px = (t) => margin.left + (t - first) / span * (width - margin.left - margin.right);
  const py = (v) => height - margin.bottom - (Math.max(low, Math.min(high, v)) - low) / (high - low) * (height - margin.top - margin.bottom);
  pen.font = '11px system-ui';
  pen.fillStyle = ink;
  pen.strokeStyle = ink;
  pen.globalAlpha = 0.25;
  for (const v of [low, (low + high) / 2, high]) {
    pen.beginPath();
    pen.moveTo(margin.left, py(v));
    pen.lineTo(width - margin.right, py(v));
    pen.stroke();
  }
  const day = Date.parse(about.dates[$('date').value].replace(' ', 'T') + (about.dates[0].length > 10 ? 'Z' : '')) / 1000;
  pen.globalAlpha = 0.6;
  pen.setLineDash([3, 3]);
  pen.beginPath();
  pen.moveTo(px(day), margin.top);
  pen.lineTo(px(day), height - margin.bottom);
  pen.stroke();
  pen.setLineDash([]);
  pen.globalAlpha = 1;
  pen.textAlign = 'right';
  for (const v of [low, high]) pen.fillText(Math.abs(high) < 10 ? v.toFixed(2) : Math.round(v), margin.left - 4, py(v) + 4);
  pen.textAlign = 'left';
  const date = (t) => new Date(1000 * t).toISOString().slice(0, 10);
  pen.fillText(date(first), margin.left, height - 5);
  pen.textAlign = 'right';
  pen.fillText(date(times[times.length - 1]), width - margin.right, height - 5);
  if (rests) {
    const most = Math.max(...rests.lost.map(Math.abs), 1e-9), base = height - margin.bottom;
    rests.times.forEach((t, i) => {
      pen.fillStyle = rests.lost[i] >= 0 ? '#ff6a0099' : '#00a87899';
      const tall = Math.abs(rests.lost[i]) / most * (base - margin.top) * 0.8;
      pen.fillRect(px(t) - 2, base - tall, 4, tall);
    });
  }
  pen.strokeStyle = style.getPropertyValue('--mark');
  pen.lineWidth = 1.5;
  pen.beginPath();
  let begun = false;
  values.forEach((v, i) => {
    if (v === null || !place.clear[i]) return;
    pen[begun ? 'lineTo' : 'moveTo'](px(times[i]), py(v));
    begun = true;
  });
  pen.stroke();
  values.forEach((v, i) => {
    if (v === null) return;
    pen.fillStyle = place.clear[i] ? style.getPropertyValue('--mark') : '#9a9aa288';
    pen.beginPath();
    pen.arc(px(times[i]), py(v), place.clear[i] ? 3 : 2.5, 0, 7);
    pen.fill();
  });
}

// -- the panel ----------------------------------------------------------------------------------

function options(id, entries) {
  $(id).replaceChildren(...entries.map(([value, name]) => new Option(name, value)));
}

function choose(name) {
  tool = name;
  drawn = [];
  for (const id of ['ask', 'point', 'polygon']) $(id).setAttribute('aria-pressed', id === name);
  redraw();
}

function take(next) {
  const changed = next.version !== state.version, grown = next.classes.length !== state.classes.length;
  state = next;
  if (grown || !$('classes').children.length) showClasses();
  const { right, asked } = state.held_out;
  const many = state.labels.length;
  $('score').textContent = many + (many === 1 ? ' label' : ' labels') + (asked
    ? '; ' + right + ' of ' + asked + ' right when left out'
    : state.has_map ? '; label each class twice, to see how many are right when left out'
      : about.layers.length > 1 ? '; two classes make a map' : '');
  $('undo').disabled = !many;
  const map = state.map, share = map.total ? map.done / map.total : 0;
  $('drawing').hidden = !state.has_map;
  $('bar').hidden = map.state !== 'drawing';
  $('bar').value = share;
  $('draw').hidden = map.state === 'drawing' || map.state === 'done';
  const total = Object.values(map.pixels || {}).reduce((a, b) => a + b, 0);
  const shares = Object.entries(map.pixels || {}).map(([name, n]) => name + ' ' + (100 * n / total).toFixed(1) + ' %');
  $('drawn').textContent = { drawing: 'drawing it all', done: 'whole map: ' + shares.join(', '), old: 'whole map: not of these labels',
    failed: 'the map failed: ' + map.error }[map.state] || '';
  showFiles(map.state === 'done');
  if (changed) { refreshLegend(); refreshProbabilities(); redraw(); }
}

async function refreshProbabilities() {
  if (!place || !about.layers.some((one) => one.id === 'map')) return;
  const answer = await told(() => ask('place/' + place.row + '/' + place.column));
  if (answer) { place = await answer.json(); rests = null; describe(); }
}

function showFiles(whole) {
  const names = ['labels.gpkg', ...(whole ? ['map.tif', 'certainty.tif'] : [])];
  if ($('saved').dataset.names === names.join() + !state.labels.length) return;
  $('saved').dataset.names = names.join() + !state.labels.length;
  if (!state.labels.length) { $('saved').textContent = 'Labels are saved as they are made, in ' + about.folder; return; }
  $('saved').replaceChildren('Saved in ' + about.folder + ': ', ...names.flatMap((name, i) => {
    const link = document.createElement('a');
    link.textContent = name;
    link.href = 'files/' + name + '?token=' + encodeURIComponent(token);
    link.download = name;
    return i ? [', ', link] : [link];
  }));
}

function chip(colour) {
  const box = document.createElement('span');
  box.className = 'chip';
  box.style.background = colour;
  return box;
}

function showClasses() {
  $('classes').replaceChildren(...state.classes.map((one) => {
    const button = document.createElement('button');
    button.className = 'class';
    button.append(chip(one.colour), one.name);
    button.setAttribute('aria-pressed', one.name === chosen);
    button.addEventListener('click', () => { chosen = one.name; if (tool === 'ask') choose('point'); showClasses(); });
    return button;
  }));
}

function refreshLegend() {
  const entries = [];
  for (const layer of new Set([$('below').value, $('above').value])) {
    if (layer === 'map') entries.push(...state.classes.map((one) => [one.name, one.colour]));
    else if (layer === 'certainty') entries.push(['uncertain', '#00224e'], ['certain', '#fee838']);
    else if (layer === 'similarity') entries.push(['unlike', '#000004'], ['like the place', '#fcfdbf']);
    else if (layer === 'image' && $('marked').checked) entries.push(['not clear', '#d65cbe']);
    else entries.push(...(about.legends[layer] || []));
  }
  $('legend').replaceChildren(...entries.map(([name, colour]) => {
    const entry = document.createElement('span');
    entry.append(chip(colour), name);
    return entry;
  }));
}

function showDay() { $('day').textContent = about.dates[$('date').value]; }

options('below', about.layers.map((one) => [one.id, one.name]));
options('above', [['', 'nothing'], ...about.layers.map((one) => [one.id, one.name])]);
options('picture', about.pictures.map((name) => [name, name]));
$('date').max = about.dates.length - 1;
$('date').value = about.first;
if (about.layers.some((one) => one.id === 'embedding')) $('above').value = 'embedding';
for (const id of ['below', 'above', 'picture', 'marked']) $(id).addEventListener('change', () => { refreshLegend(); redraw(); });
$('opacity').addEventListener('input', redraw);
$('date').addEventListener('input', () => { showDay(); redraw(); plot(); });
$('band').addEventListener('change', plot);
for (const id of ['ask', 'point', 'polygon']) $(id).addEventListener('click', () => choose(id));
$('add').addEventListener('submit', async (event) => {
  event.preventDefault();
  const name = $('name').value.trim().replace(/\s+/g, ' ');
  if (await change('classes', { name })) {
    chosen = name;
    $('name').value = '';
    if (tool === 'ask') choose('point');
    showClasses();
  }
});
$('undo').addEventListener('click', () => change('labels/' + Math.max(...state.labels.map((one) => one.number)) + '/remove', {}));
$('draw').addEventListener('click', () => change('map', {}));
$('suggest').addEventListener('click', async () => {
  if (hint) skipped.push(hint.row + ',' + hint.column);
  const answer = await told(() => ask('suggestion?' + new URLSearchParams({ skipped: skipped.slice(-200).join(';') })));
  if (!answer) return;
  say('');
  hint = await answer.json();
  const [x, y] = toScreen(hint.column, hint.row), { clientWidth: w, clientHeight: h } = $('map');
  if (x < 0 || y < 0 || x > w || y > h) {
    view.x = hint.column + 0.5;
    view.y = hint.row + 0.5;
  }
  look(hint.row, hint.column);
});
$('explain').addEventListener('click', async () => {
  $('explain').disabled = true;
  const answer = await told(() => ask('importance/' + place.row + '/' + place.column));
  $('explain').disabled = false;
  if (answer) { rests = await answer.json(); describe(); }
});
$('suggest').hidden = !about.layers.some((one) => one.id === 'map');
new ResizeObserver(() => { redraw(); plot(); }).observe($('map'));
showDay();
fit();
refreshLegend();
redraw();
poll();
