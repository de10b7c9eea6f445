// Stands in for the platform where there are files to serve: a file that exists is answered with the headers of
// `_headers`, everything else is the Worker's.
const TYPES = {
  css: 'text/css; charset=utf-8', ico: 'image/vnd.microsoft.icon', jpg: 'image/jpeg', js: 'text/javascript; charset=utf-8',
  json: 'application/json', map: 'application/json', mjs: 'text/javascript; charset=utf-8', png: 'image/png', svg: 'image/svg+xml',
  txt: 'text/plain; charset=utf-8', wasm: 'application/wasm', webmanifest: 'application/manifest+json', webp: 'image/webp', woff2: 'font/woff2',
};

/** Whether the Worker comes first: one of its rules fits, and none with `!`. */
const workerFirst = (all, path) => all.some((rule) => matches(rule, path)) && !all.some((rule) => rule.startsWith('!') && matches(rule.slice(1), path));

const matches = (rule, path) => (rule.endsWith('*') ? path.startsWith(rule.slice(0, -1)) : path === rule);

/** Headers of `_headers` for this path: a line with a path, below it indented lines with headers. */
function rules(text, path) {
  const found = [];
  let applies = false;
  for (const line of text.split('\n')) {
    if (/^[/]/.test(line)) applies = matches(line.trim(), path);
    else if (applies && /^\s+\S/.test(line)) found.push(line.trim().split(/:\s*(.*)/s, 2));
  }
  return found;
}

export default {
  async fetch(request, { FILES, HEADERS, WORKER, WORKER_FIRST }) {
    const { pathname } = new URL(request.url);
    const read = request.method === 'GET' || request.method === 'HEAD';
    if (!read || pathname.endsWith('/') || pathname === '/_headers' || workerFirst(WORKER_FIRST, pathname)) {
      return WORKER.fetch(request);
    }
    const file = await FILES.fetch(`http://files${pathname}`, { method: request.method });
    if (!file.ok || file.headers.get('content-type') === 'application/json' && !pathname.endsWith('.json')) return WORKER.fetch(request);
    const type = TYPES[pathname.split('.').pop()] ?? 'application/octet-stream';
    const headers = new Headers([['content-type', type], ['cache-control', 'public, max-age=0, must-revalidate']]);
    for (const [name, value] of rules(HEADERS, pathname)) headers.set(name, value);
    const length = file.headers.get('content-length');
    if (length) headers.set('content-length', length);
    return new Response(file.body, { headers });
  },
};
