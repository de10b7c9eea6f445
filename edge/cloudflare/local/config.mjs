// workerd's configuration, from what wrangler.toml says.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

const WRANGLER = new URL('../../../wrangler.toml', import.meta.url);
const FILES = new URL('./files.js', import.meta.url);

/** Date, bindings of objects and classes with storage, from wrangler.toml. */
export function deployment(text = readFileSync(WRANGLER, 'utf8')) {
  const lines = text.split('\n').filter((line) => !line.trimStart().startsWith('#')).join('\n');
  const one = (key) => new RegExp(`^${key} = "([^"]+)"`, 'm').exec(lines)?.[1];
  const objects = [...lines.matchAll(/^\[\[durable_objects\.bindings\]\]\nname = "(\w+)"\nclass_name = "(\w+)"/gm)];
  const classes = [...lines.matchAll(/^new_sqlite_classes = \[([^\]]*)\]/gm)].flatMap(([, list]) => list.match(/\w+/g) ?? []);
  const first = /^run_worker_first = \[([^\]]*)\]/m.exec(lines)?.[1] ?? '';
  return {
    name: one('name'),
    date: one('compatibility_date'),
    objects: objects.map(([, name, className]) => ({ name, className })),
    classes,
    workerFirst: [...first.matchAll(/"([^"]+)"/g)].map(([, path]) => path),
  };
}

const quoted = (text) => JSON.stringify(String(text));
const list = (items) => `[\n${items.map((item) => `    ${item},\n`).join('')}  ]`;

/** Whether there is anything for the platform to serve. */
const hasFiles = (folder) => existsSync(folder) && readdirSync(folder).some((name) => name !== '_headers');

/**
 * The configuration as text. Paths are absolute: run workerd with `--import-path=/`.
 * @param {{name: string, date: string, objects: {name: string, className: string}[], classes: string[], withoutSql?: string[],
 *   workerFirst: string[], bundle: string, assets: string, state: string, names: string[], port: number}} options `names`: variables of the
 *   environment that become text bindings
 */
export function config({ name, date, objects, classes, withoutSql = [], workerFirst, bundle, assets, state, names, port }) {
  const embed = (file) => `embed ${quoted(resolve(bundle, file))}`;
  const bindings = [
    ...objects.map((object) => `(name = ${quoted(object.name)}, durableObjectNamespace = ${quoted(object.className)})`),
    ...names.map((variable) => `(name = ${quoted(variable)}, fromEnvironment = ${quoted(variable)})`),
  ];
  const namespaces = classes.map((one) => `(className = ${quoted(one)}, uniqueKey = ${quoted(`${name}-${one}`)}, enableSql = ${!withoutSql.includes(one)})`);
  const files = hasFiles(assets);
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "objects", disk = (path = ${quoted(state)}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
${files ? `    (name = "front", worker = .front),\n    (name = "files", disk = (path = ${quoted(assets)})),\n` : ''}  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = ${files ? '"front"' : '"main"'})],
);

const worker :Workerd.Worker = (
  modules = [
    (name = "index.js", esModule = ${embed('index.js')}),
    (name = "index_bg.wasm", wasm = ${embed('index_bg.wasm')}),
  ],
  compatibilityDate = ${quoted(date)},
  bindings = ${list(bindings)},
  durableObjectNamespaces = ${list(namespaces)},
  durableObjectStorage = (localDisk = "objects"),
);
${files ? front(date, assets, workerFirst) : ''}`;
}

/** What the platform does with files before it asks the Worker. */
function front(date, assets, workerFirst) {
  const headers = join(assets, '_headers');
  return `
const front :Workerd.Worker = (
  modules = [(name = "files.js", esModule = embed ${quoted(FILES.pathname)})],
  compatibilityDate = ${quoted(date)},
  bindings = [
    (name = "FILES", service = "files"),
    (name = "WORKER", service = "main"),
    (name = "WORKER_FIRST", json = ${quoted(JSON.stringify(workerFirst))}),
    (name = "HEADERS", text = ${quoted(existsSync(headers) ? readFileSync(headers, 'utf8') : '')}),
  ],
);
`;
}
