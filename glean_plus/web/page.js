// The page: a list of images, each uploaded, restored as a job of the HTTP API, and compared.
const find = (id) => document.getElementById(id);
const form = find('form');
const items = [];  // {file, name, url, row, upload, abort, key, size, state, says, run, query, job, progress, result}
let info = {models: [], figures: {}, max_upload: Infinity, concurrency: 1};
let shown = null;

const bytes = (size) => size >= 2 ** 20 ? `${+(size / 2 ** 20).toPrecision(3)} MB` : `${+(size / 2 ** 10).toPrecision(3)} KB`;
const pixels = (count) => count >= 1e6 ? `${+(count / 1e6).toPrecision(3)} million` : `${count}`;
const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

class Failure extends Error {
  constructor(status, why) { super(why); this.status = status; }
}

async function call(method, path, options = {}) {
  let response;
  try {
    response = await fetch(path, {method, ...options});
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Failure(0, 'The server cannot be reached: try again.');
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({error: 'The server broke off: try again.'}));
  if (!response.ok) throw new Failure(response.status, answer.error);
  return answer;
}

function say(why) {
  find('message').textContent = why;
  find('message').hidden = !why;
}

const remove = (kind, key) => fetch(`api/${kind}/${key}`, {method: 'DELETE', keepalive: true}).catch(() => {});

// An image and its row in the list

function set(item, state, says) {
  if (state !== item.state && says) find('live').textContent = `${item.name}: ${says}`;
  Object.assign(item, {state, says});
  item.row.className = state;
  item.row.querySelector('small').textContent = says;
  find('all').hidden = items.filter(({result}) => result).length < 2;
  if (item === shown) show(item);
}

function add(file) {
  const item = {file, name: file.name || 'pasted image', url: URL.createObjectURL(file), abort: new AbortController()};
  const thumb = make('img', {className: 'thumb', alt: '', src: item.url});
  thumb.onerror = () => thumb.replaceWith(make('span', {className: 'thumb'}));  // a format that the browser does not show
  const open = make('button', {type: 'button', className: 'open', onclick: () => show(item)},
    thumb, make('span', {}, make('b', {textContent: item.name}), make('small')));
  const drop = make('button', {type: 'button', className: 'remove', textContent: '\u00d7', title: 'Remove', onclick: () => discard(item)});
  drop.setAttribute('aria-label', `Remove ${item.name}`);
  item.row = make('li', {}, open, drop);
  find('images').append(item.row);
  items.push(item);
  item.upload = upload(item);
  return item;
}

function discard(item) {
  item.abort.abort();
  stop(item);
  if (item.key) remove('images', item.key);
  URL.revokeObjectURL(item.url);
  const at = items.indexOf(item);
  items.splice(at, 1);
  item.row.remove();
  const next = items[at] || items[at - 1];
  show(next || null);
  (next ? next.row.querySelector('.open') : find('choose')).focus();
}

let uploads = Promise.resolve();  // one after another, in the order of the list

function upload(item) {
  set(item, 'uploading', 'uploading ...');
  const send = async () => {
    if (item.abort.signal.aborted) return;
    try {
      if (item.file.size > info.max_upload) {
        throw new Failure(413, `The file is too large: at most ${bytes(info.max_upload)} are allowed.`);
      }
      const headers = {'X-File-Name': encodeURIComponent(item.name), 'Content-Type': 'application/octet-stream'};
      const answer = await call('POST', 'api/images', {body: item.file, headers, signal: item.abort.signal});
      item.key = answer.id;
      item.size = `${answer.width} x ${answer.height} pixels`;
      set(item, 'ready', item.size);
    } catch (error) {
      if (error.name !== 'AbortError') set(item, 'failed', error.message);
    }
  };
  uploads = uploads.then(send);
  return uploads;
}

// Jobs

function options() {
  const query = new URLSearchParams(new FormData(form));
  for (const name of ['consistent', 'faces', 'report']) query.set(name, query.has(name));
  if (!query.get('seed')) query.delete('seed');
  return query;
}

async function restore(item, query) {
  const {signal} = item.run = new AbortController();
  set(item, 'waiting', 'waiting ...');
  if (item.job) remove('jobs', item.job);
  Object.assign(item, {query, job: null, result: null, progress: 0});
  try {
    let job = null;
    while (!job && !signal.aborted) {
      try {
        job = await call('POST', `api/jobs?${query}&image=${item.key}`);
      } catch (error) {
        if (error.status !== 503 || signal.aborted) throw error;
        set(item, 'waiting', 'the server is busy, waiting ...');
        await pause(3000);
      }
    }
    if (signal.aborted) {
      if (job) remove('jobs', job.id);
      return;
    }
    item.job = job.id;
    while (job.state === 'waiting' || job.state === 'running') {
      item.progress = job.progress;
      set(item, job.state, job.ahead ? `waiting, ${job.ahead} before it ...` : 'restoring ...');
      job = await call('GET', `api/jobs/${job.id}?wait=1`, {signal});
    }
    item.result = job.result;
    if (job.state === 'done') set(item, 'done', `${job.result.after.join(' x ')} pixels`);
    else set(item, 'failed', job.error);
  } catch (error) {
    if (!signal.aborted) set(item, 'failed', error.message);
  }
}

function stop(item) {
  const busy = item.state === 'waiting' || item.state === 'running';
  item.run?.abort();
  if (item.job) remove('jobs', item.job);
  item.job = null;
  if (busy) set(item, 'ready', `${item.size}, stopped`);
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const query = options().toString();
  const due = ({state, key, ...item}) => ['uploading', 'ready'].includes(state)
    || (key && (state === 'failed' || (state === 'done' && item.query !== query)));
  const turn = items.filter(due);
  const busy = items.some(({state}) => state === 'waiting' || state === 'running');
  say(turn.length || busy ? '' : items.some(({key}) => key) ? 'All images are restored with these options.' : 'Choose an image first.');
  if (!turn.length) return;
  if (!turn.includes(shown)) show(turn[0]);
  if (matchMedia('(max-width: 52rem)').matches) find('view').scrollIntoView({block: 'start'});
  const next = async () => {
    for (let item = turn.shift(); item; item = turn.shift()) {
      await item.upload;
      if (items.includes(item) && item.key && due(item)) await restore(item, query);
    }
  };
  await Promise.all(Array.from({length: Math.min(info.concurrency, turn.length)}, next));
});

// What is seen of an image

function show(item) {
  shown = item;
  for (const each of items) each.row.querySelector('.open').setAttribute('aria-current', each === item);
  const {state, result} = item || {};
  const busy = ['uploading', 'waiting', 'running'].includes(state);
  find('name').hidden = find('hint').hidden = !item;
  find('hint').hidden = Boolean(item) && state !== 'ready';
  find('error').hidden = state !== 'failed';
  find('running').hidden = !busy;
  find('result').hidden = !result;
  if (!item) return;
  find('name').textContent = item.name;
  find('error').textContent = state === 'failed' ? item.says : '';
  if (busy) {
    find('preview').src = item.url;
    find('state').textContent = item.says;
    find('stop').hidden = state === 'uploading';
    if (item.progress > 0 && item.progress < 1) find('progress').value = item.progress;
    else find('progress').removeAttribute('value');
  }
  if (result && find('result').dataset.job !== item.job) showResult(item, result);
}

function showResult(item, result) {
  const place = `api/jobs/${item.job}`;
  find('result').dataset.job = item.job;
  const [width, height] = result.after;
  find('compare').style.setProperty('--width', `${width}px`);
  find('compare').style.setProperty('--ratio', width / height);
  find('after').src = `${place}/result.png`;
  find('before').src = `${place}/before.png`;
  slide(50);

  const facts = [`${result.before.join(' x ')} \u2192 ${result.after.join(' x ')} pixels`, `${result.seconds.toFixed(1)} s`, result.model];
  if (result.lr_psnr !== null) facts.push(`LR-PSNR ${result.lr_psnr.toFixed(1)} dB`);
  if (result.faces !== null) {
    facts.push(result.faces ? `${result.faces} face${result.faces > 1 ? 's' : ''} restored` : 'no face was found: only enlarged');
  }
  find('facts').textContent = facts.join(' \u00b7 ');
  find('notes').textContent = [...result.lost, ...result.notes].join(' ');

  const names = result.files.filter((name) => name.startsWith('result.'));
  const links = names.map((name) => make('a', {
    href: `${place}/${name}?save=true`, download: '',
    textContent: {'result.png': 'PNG', 'result.jpg': 'JPEG', 'result.webp': 'WebP'}[name],
  }));
  find('links').replaceChildren(...links);

  find('report').hidden = !result.report.verdict;
  if (!result.report.verdict) return;
  find('verdict').textContent = `${result.report.verdict}.`;
  find('scores').replaceChildren(...Object.entries(info.figures).map(([name, what]) => make('tr', {},
    make('th', {scope: 'row', textContent: name, title: what}),
    make('td', {textContent: result.report.missing[name] ?? Number(result.report[name]).toPrecision(3)}))));
  find('heat').hidden = !result.files.includes('heat.png');
  if (!find('heat').hidden) find('heat').querySelector('img').src = `${place}/heat.png`;
}

function slide(value) {
  find('slider').value = value;
  find('compare').style.setProperty('--at', `${value}%`);
}

// Events

function take(files) {
  const added = Array.from(files || [], add);
  if (!added.length) return;
  show(added[0]);
  say('');
}

find('choose').addEventListener('change', (event) => {
  take(event.target.files);
  event.target.value = '';  // so that the same file can be chosen again
});
document.addEventListener('dragover', (event) => { event.preventDefault(); find('drop').classList.add('over'); });
document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) find('drop').classList.remove('over'); });
document.addEventListener('drop', (event) => {
  event.preventDefault();
  find('drop').classList.remove('over');
  take(event.dataTransfer?.files);
});
document.addEventListener('paste', (event) => take(event.clipboardData?.files));
find('slider').addEventListener('input', (event) => slide(event.target.value));
find('fidelity').addEventListener('input', (event) => { find('fidelity-value').value = event.target.value; });
find('all').addEventListener('click', async () => {
  for (const item of items.filter(({result}) => result)) {
    make('a', {href: `api/jobs/${item.job}/result.png?save=true`, download: ''}).click();
    await pause(300);  // browsers drop downloads that begin at the same time
  }
});
find('stop').addEventListener('click', () => stop(shown));
find('model').addEventListener('change', () => {
  find('about').textContent = info.models.find((model) => model.name === find('model').value)?.about || '';
});
addEventListener('pagehide', () => { for (const item of items) if (['waiting', 'running'].includes(item.state)) stop(item); });

call('GET', 'api/info').then((answer) => {
  info = answer;
  find('model').replaceChildren(...info.models.map((model) => make('option', {textContent: model.name})));
  find('model').dispatchEvent(new Event('change'));
  find('faces').hidden = !info.faces;
  find('limits').textContent =
    `At most ${bytes(info.max_upload)} and ${pixels(info.max_pixels)} pixels each; kept for ${+(info.keep / 60).toPrecision(3)} minutes`;
}).catch((error) => say(error.message));
