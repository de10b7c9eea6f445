// Compares answers with schema/openapi.json: any status, field or type that is not described fails the test that got it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import Ajv from 'ajv/dist/2020.js';

export const text = readFileSync(new URL('../../schema/openapi.json', import.meta.url), 'utf8');
export const document = JSON.parse(text);

const ajv = new Ajv({ strict: false, validateFormats: true });
ajv.addFormat('uuid', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
ajv.addFormat('date-time', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
ajv.addSchema(document, 'document');

/** What a reference in the document stands for. */
const resolve = (value) => (value?.$ref ? value.$ref.slice(2).split('/').reduce((at, key) => at[key], document) : value);
/** A JSON pointer for a fragment. */
const pointer = (...keys) => keys.map((key) => encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');

/** Every operation: method, pattern of its path, and one function per status that checks a body. */
const operations = Object.entries(document.paths).flatMap(([path, item]) => Object.entries(item).map(([method, operation]) => ({
  method: method.toUpperCase(),
  path,
  pattern: new RegExp(`^${path.split('/').map((part) => (part.startsWith('{') ? '[^/]+' : part.replaceAll('.', '\\.'))).join('/')}$`),
  responses: Object.fromEntries(Object.entries(operation.responses).map(([status, given]) => {
    const at = given.$ref ? given.$ref.slice(2).split('/') : ['paths', path, method, 'responses', status];
    const schema = resolve(given).content?.['application/json'] && { $ref: `document#/${pointer(...at, 'content', 'application/json', 'schema')}` };
    return [status, schema ? ajv.compile(schema) : null];
  })),
})));

/** Operations that were answered, `METHOD path status`. */
export const seen = new Set();

/** @param {{status: number, headers: Headers, text: string, body: any}} answer */
export function conforms(method, target, answer) {
  const path = target.split('?')[0];
  const operation = operations.find((one) => one.method === method && one.pattern.test(path));
  if (!operation) return;
  const name = `${method} ${operation.path} ${answer.status}`;
  seen.add(name);
  const known = String(answer.status) in operation.responses;
  assert.ok(known || answer.status >= 400, `${name} is not in schema/openapi.json: ${answer.text.slice(0, 300)}`);
  const check = operation.responses[known ? answer.status : 'default'];
  if (!check) return assert.equal(answer.text, '', `${name} has no body in schema/openapi.json`);
  assert.ok(check(answer.body), `${name} is not as schema/openapi.json says: ${ajv.errorsText(check.errors, { dataVar: 'body' })}\n${answer.text.slice(0, 500)}`);
}
