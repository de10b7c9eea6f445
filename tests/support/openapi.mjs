// Compares requests and answers with schema/openapi.json: any status, field or type that is not described fails the test
// that got it, and so does a request that is answered 2xx and that the document does not allow.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import Ajv from 'ajv/dist/2020.js';

export const text = readFileSync(new URL('../../schema/openapi.json', import.meta.url), 'utf8');
export const document = JSON.parse(text);

/** Answers are written in one way. */
const answers = new Ajv({ strict: false, validateFormats: true });
answers.addFormat('uuid', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
answers.addFormat('date-time', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
answers.addSchema(document, 'document');
/** Requests may write an id in capitals; what an address is, its pattern says. */
const requests = new Ajv({ strict: false, validateFormats: true });
requests.addFormat('uuid', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i);
requests.addFormat('email', true);
requests.addSchema(document, 'document');

/** The keys that lead to a place in the document, behind all references. */
function follow(keys) {
  const value = keys.reduce((at, key) => at[key], document);
  return value?.$ref ? follow(value.$ref.slice(2).split('/')) : keys;
}
/** A JSON pointer for a fragment. */
const pointer = (keys) => keys.map((key) => encodeURIComponent(String(key).replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');

/** A schema of the document by the keys that lead to it; what is below is a place of its own. */
export class Place {
  static #compiled = new Map();

  constructor(keys) {
    this.keys = follow(keys);
    this.schema = this.keys.reduce((at, key) => at[key], document);
  }

  below(...keys) {
    return new Place([...this.keys, ...keys]);
  }

  /** What is wrong with a value that a client sends, or nothing. */
  fault(value) {
    const name = pointer(this.keys);
    if (!Place.#compiled.has(name)) Place.#compiled.set(name, requests.compile({ $ref: `document#/${name}` }));
    const check = Place.#compiled.get(name);
    return check(value) ? null : requests.errorsText(check.errors, { dataVar: 'value' });
  }

  fits(value) {
    return this.fault(value) === null;
  }

  /** A parameter as its schema reads it. */
  read(text) {
    return this.schema.type === 'integer' && /^-?\d+$/.test(text) ? Number(text) : text;
  }
}

function parameters(path, method, operation) {
  return (operation.parameters ?? []).map((_, i) => {
    const place = new Place(['paths', path, method, 'parameters', i]);
    const { name, in: where, required = false } = place.schema;
    return { name, where, required, place: place.below('schema') };
  });
}

function body(path, method, { requestBody }) {
  if (!requestBody) return null;
  return { required: requestBody.required ?? false, place: new Place(['paths', path, method, 'requestBody', 'content', 'application/json', 'schema']) };
}

function responses(path, method, operation) {
  return Object.fromEntries(Object.keys(operation.responses).map((status) => {
    const { keys, schema } = new Place(['paths', path, method, 'responses', status]);
    const $ref = `document#/${pointer([...keys, 'content', 'application/json', 'schema'])}`;
    return [status, schema.content ? answers.compile({ $ref }) : null];
  }));
}

/** Every operation, those without parameters first. `responses` has one function per status that checks a body. */
export const operations = Object.entries(document.paths).flatMap(([path, item]) => Object.entries(item).map(([method, operation]) => ({
  id: operation.operationId,
  method: method.toUpperCase(),
  path,
  pattern: new RegExp(`^${path.split('/').map((part) => (part.startsWith('{') ? '([^/]+)' : part.replaceAll('.', '\\.'))).join('/')}$`),
  secured: (operation.security ?? document.security).length > 0,
  parameters: parameters(path, method, operation),
  body: body(path, method, operation),
  responses: responses(path, method, operation),
}))).sort((a, b) => a.path.split('{').length - b.path.split('{').length);

/** The operation of a request, or nothing. A path without parameters is never one with them. */
export function operationOf(method, path) {
  const first = operations.find((one) => one.pattern.test(path));
  return operations.find((one) => one.method === method && one.path === first?.path);
}

/** Operations that were answered, `METHOD path status`. */
export const seen = new Set();

/** @param {{status: number, headers: Headers, text: string, body: any}} answer */
export function conforms(method, target, answer) {
  const operation = operationOf(method, target.split('?')[0]);
  if (!operation) return;
  const name = `${method} ${operation.path} ${answer.status}`;
  seen.add(name);
  const known = String(answer.status) in operation.responses;
  assert.ok(known || answer.status >= 400, `${name} is not in schema/openapi.json: ${answer.text.slice(0, 300)}`);
  const check = operation.responses[known ? answer.status : 'default'];
  if (!check) return assert.equal(answer.text, '', `${name} has no body in schema/openapi.json`);
  assert.ok(check(answer.body), `${name} is not as schema/openapi.json says: ${answers.errorsText(check.errors, { dataVar: 'body' })}\n${answer.text.slice(0, 500)}`);
}

/** Decodes what is whole; anything else is `undefined`. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Parameters that suites send to see that they mean nothing. */
const IGNORED = ['id', 'token', 'access_token'];

function* faultsOfParameters(operation, where, given) {
  const described = operation.parameters.filter((one) => one.where === where);
  for (const { name, required, place } of described) {
    const values = given.filter(([known]) => known === name).map(([, value]) => value);
    if (required && !values.length) yield `${where} ${name} is missing`;
    if (values.length > 1) yield `${where} ${name} comes ${values.length} times`;
    for (const value of values) {
      const fault = value === undefined ? 'is no percent-encoded UTF-8' : place.fault(place.read(value));
      if (fault) yield `${where} ${name}: ${fault}`;
    }
  }
  if (where === 'query') {
    for (const [name] of given) if (!IGNORED.includes(name) && !described.some((one) => one.name === name)) yield `query ${name} is not described`;
  }
}

function* faultsOfBody(operation, headers, sent) {
  if (sent === undefined || sent === '') {
    if (operation.body?.required) yield 'the body is missing';
    return;
  }
  if (!operation.body) return yield 'a body is not described';
  const media = headers.get('content-type') ?? '';
  if (!/^application\/json *(;|$)/i.test(media)) yield `the body is ${media || 'without a type'}`;
  let value = sent;
  if (typeof sent === 'string' || sent instanceof Uint8Array) {
    try {
      value = JSON.parse(typeof sent === 'string' ? sent : new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(sent));
    } catch {
      return yield 'the body is no JSON';
    }
  }
  const fault = operation.body.place.fault(value);
  if (fault) yield `body: ${fault}`;
}

/** What the document does not allow of a request: sentences. Fields and headers that it does not know are nobody's business. */
export function* faults(method, target, headers = {}, sent = undefined) {
  const [path, query = ''] = target.split('?');
  const operation = operationOf(method, path);
  if (!operation) return;
  const names = [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  const given = new Headers(headers);
  yield* faultsOfParameters(operation, 'path', operation.pattern.exec(path).slice(1).map((value, i) => [names[i], decoded(value)]));
  yield* faultsOfParameters(operation, 'query', query.split('&').filter(Boolean).map((pair) => {
    const [, name, value = ''] = /^([^=]*)=?(.*)$/s.exec(pair.replaceAll('+', ' '));
    return [decoded(name), decoded(value)];
  }));
  yield* faultsOfParameters(operation, 'header', operation.parameters.filter(({ name }) => given.has(name)).map(({ name }) => [name, given.get(name)]));
  yield* faultsOfBody(operation, given, sent);
}

/** A request that was answered 2xx is one that the document allows. */
export function requested(method, target, headers, sent) {
  const found = [...faults(method, target, headers, sent)];
  assert.deepEqual(found, [], `${method} ${target} was answered, and is not as schema/openapi.json says`);
}
