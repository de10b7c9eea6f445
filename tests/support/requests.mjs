// Requests made from the OpenAPI document: what it allows at random, and every way to break one rule of what it allows.
import fc from 'fast-check';
import { Place } from './openapi.mjs';

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const branches = ({ schema }) => ['oneOf', 'anyOf'].flatMap((word) => (schema[word] ?? []).map((_, i) => [word, i]));

/** Any code point but halves of a pair. */
const symbol = fc.string({ unit: 'binary', minLength: 1, maxLength: 1 });

function texts({ schema: { minLength = 0, maxLength = 60, pattern, format } }) {
  if (format === 'uuid') return fc.uuid();
  if (format === 'email') return fc.emailAddress();
  const fits = new RegExp(pattern ?? '', 'u');
  if (pattern && !/^\^\[[^\]]*\]\*\$$/.test(pattern)) return fc.stringMatching(fits);
  const unit = fc.oneof(fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 1 }), symbol).filter((one) => !pattern || fits.test(one));
  const short = fc.string({ unit, minLength, maxLength });
  return fc.oneof({ weight: 4, arbitrary: short }, { weight: 1, arbitrary: fc.string({ unit, minLength: maxLength, maxLength }) });
}

function objects(place) {
  const { properties = {}, required = [], additionalProperties } = place.schema;
  const named = fc.record(Object.fromEntries(Object.keys(properties).map((name) => [name, allowed(place.below('properties', name))])), { requiredKeys: required, noNullPrototype: true });
  return additionalProperties === false ? named : fc.tuple(further, named).map(([more, fields]) => ({ ...more, ...fields }));
}

/** Fields that nobody knows. */
const further = fc.dictionary(fc.string().map((name) => `x-${name}`), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 2, noNullPrototype: true });

const MAKES = {
  string: texts,
  object: objects,
  array: (place) => fc.array(allowed(place.below('items')), { minLength: place.schema.minItems ?? 0, maxLength: 4 }),
  integer: ({ schema: { minimum, maximum = Number.MAX_SAFE_INTEGER } }) => fc.oneof(fc.integer({ min: minimum, max: minimum + 300 }), fc.maxSafeInteger().filter((n) => n >= minimum && n <= maximum)),
  boolean: () => fc.boolean(),
  null: () => fc.constant(null),
};

/** Any value that the schema at a place allows. */
export function allowed(place) {
  const { schema } = place;
  let made;
  if ('enum' in schema) made = fc.constantFrom(...schema.enum);
  else if (branches(place).length) made = fc.oneof(...branches(place).map((keys) => allowed(place.below(...keys))));
  else made = fc.oneof(...[schema.type].flat().map((type) => MAKES[type](place)));
  if (schema.examples) made = fc.oneof(fc.constantFrom(...schema.examples), made);
  return made.filter((value) => place.fits(value));
}

/** Stands for the value of a request that is known to work. */
const KNOWN = Symbol('known');

/** What a path or a header can carry, and the library sends as it is. */
const carried = {
  path: (made) => made.filter((text) => text !== '.' && text !== '..'),
  query: (made) => made,
  header: (made) => made.map((text) => text.replace(/[^!-~]/g, 'x')),
};

const mixed = (place, known, weight, carry = carried.query) => (known ? fc.oneof({ weight, arbitrary: fc.constant(KNOWN) }, { weight: 1, arbitrary: carry(allowed(place)) }) : carry(allowed(place)));

function parts(operation, where, known, weight) {
  const described = operation.parameters.filter((one) => one.where === where);
  const record = Object.fromEntries(described.map(({ name, place }) => [name, mixed(place, name in known, weight, carried[where])]));
  const [needed, others] = [true, false].map((required) => described.filter((one) => one.required === required).map(({ name }) => name));
  // Few of the optional ones: some do not go together.
  const chosen = fc.oneof(fc.subarray(others, { maxLength: Math.min(others.length, 2) }), fc.subarray(others));
  return fc.tuple(fc.record(record, { noNullPrototype: true }), chosen).map(([all, some]) => Object.fromEntries([...needed, ...some].map((name) => [name, all[name]])));
}

function bodies({ body }, known) {
  if (!body) return fc.constant(undefined);
  const { properties, required = [], additionalProperties } = body.place.schema;
  const record = Object.fromEntries(Object.keys(properties).map((name) => [name, mixed(body.place.below('properties', name), name in known, 4)]));
  const fields = fc.record(record, { requiredKeys: required, noNullPrototype: true });
  const whole = additionalProperties === false ? fields : fc.tuple(further, fields).map(([more, some]) => ({ ...more, ...some }));
  return body.required ? whole : fc.oneof({ weight: 4, arbitrary: whole }, { weight: 1, arbitrary: fc.constant(undefined) });
}

/**
 * Requests that the document allows. Where `known` names a value, it is mostly taken from there: random ids are nobody's.
 * @returns {((known: object) => {path: object, query: object, headers: object, body: any})[]} to be completed with values
 *   that work at that moment
 */
export function valid(operation, known, { seed, examples }) {
  const { path = {}, query = {}, headers = {}, body = {} } = known;
  const request = fc.record({
    path: parts(operation, 'path', path, 9), query: parts(operation, 'query', query, 3), headers: parts(operation, 'header', headers, 3), body: bodies(operation, body),
  }, { noNullPrototype: true });
  return fc.sample(request, { seed, numRuns: examples }).map((made) => (now) => {
    const complete = (fields, from) => isObject(fields) && Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value === KNOWN ? from[name] : value]));
    return { ...Object.fromEntries(['path', 'query', 'headers'].map((where) => [where, complete(made[where], now[where] ?? {})])), body: complete(made.body, now.body ?? {}) || made.body };
  });
}

/** Values of every type, sizes and spellings that one meets. */
const FOREIGN = [null, true, false, 0, 1, -1, 1.5, 1e300, -1e300, 2 ** 53, 2 ** 64, '', ' ', 'x', '0', 'null', '1 OR 1=1', '%', '💥', '\u0000', [], [null], ['x'], [[]], {}, { $gt: '' }, { 0: 'x' }];

function* others({ schema }, value) {
  for (const foreign of FOREIGN) yield [JSON.stringify(foreign), foreign];
  if (typeof value === 'string') {
    if (schema.maxLength) yield ['too long', value.padEnd(schema.maxLength + 1, 'x')];
    yield* [['300 long', value.padEnd(300, 'x')], ['100,000 long', value.padEnd(100_000, 'x')]];
    if (schema.minLength) yield ['too short', [...value].slice(0, schema.minLength - 1).join('')];
    for (const [what, wrong] of [
      ['another case', value.toUpperCase()], ['a space behind', `${value} `], ['a space before', ` ${value}`], ['a line feed behind', `${value}\n`], ['a NUL behind', `${value}\u0000`], ['ESC before', `\u001b${value}`],
      ['DEL inside', `${value.slice(0, 1)}\u007f${value.slice(1)}`], ['one symbol more', `${value}g`], ['one symbol less', value.slice(0, -1)], ['no hyphens', value.replaceAll('-', '')], ['a list of it', [value]], ['an object with it', { value }],
    ]) yield [what, wrong];
  }
  if (typeof value === 'number') yield* [['a fraction', value + 0.5], ['negative', -value - 1], ['as a text', String(value)], ['a list of it', [value]]];
  if (schema.minimum !== undefined) yield ['below the least', schema.minimum - 1];
  if (schema.maximum !== undefined) yield ['above the most', schema.maximum + 1];
}

/** Every value that breaks one rule of the schema at a place, the rest of `value` as it is: `[what, broken, field]`. */
export function* broken(place, value) {
  const { schema } = place;
  const wrong = function* wrong(found) {
    for (const [what, other, field] of found) if (!place.fits(other)) yield [what, other, field];
  };
  yield* wrong(others(place, value));
  for (const keys of branches(place)) {
    const branch = place.below(...keys);
    if (branch.fits(value)) yield* wrong(broken(branch, value));
  }
  if (Array.isArray(value) && schema.items) {
    for (const [what, item] of broken(place.below('items'), value[0])) yield [`an item: ${what}`, [...value, item]];
  }
  if (!isObject(value)) return;
  for (const [name, inner] of Object.entries(value)) {
    if (!schema.properties?.[name]) continue;
    for (const [what, other] of broken(place.below('properties', name), inner)) yield [`${name}: ${what}`, { ...value, [name]: other }, name];
    if (schema.required?.includes(name)) yield [`${name} is missing`, Object.fromEntries(Object.entries(value).filter(([other]) => other !== name)), name];
  }
  if (schema.additionalProperties === false) yield ['another field', { ...value, another: 1 }, 'another'];
}

const deep = (depth) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

/** Bodies that are no JSON object, or none of ours: `[what, bytes, type]`. */
export function* noBodies(value) {
  const json = JSON.stringify(value);
  const with_ = (field) => `{"further":${field},${json.slice(1)}`.replace(/,\}$/, '}');
  const utf8 = new TextEncoder();
  yield* [
    ['no JSON', 'a=b&c=d'], ['half of it', json.slice(0, -1)], ['twice', `${json} ${json}`], ['a list of it', `[${json}]`], ['a text', JSON.stringify(json)], ['null', 'null'], ['a number', '1'], ['true', 'true'], ['a list', '[]'],
    ['a comma behind', json.replace(/\}$/, ',}')], ['nested 32 deep below', with_(deep(32))], ['nested 100,000 deep', deep(100_000)], ['a number above all', with_('1e999')], ['half a pair', with_('"\\ud800"')],
    ['invalid UTF-8', Uint8Array.of(...utf8.encode(with_('"')).slice(0, 12), 0xff, ...utf8.encode(`",${json.slice(1)}`))], ['UTF-16', new Uint8Array(Buffer.from(json, 'utf16le'))], ['a byte order mark', new Uint8Array(Buffer.from(`\ufeff${json}`))],
  ];
}

/** Escapes that are none, or no UTF-8. */
export const ESCAPES = ['%', '%4', '%zz', '%ff', '%c0%af', '%ed%a0%80', '%f0%28%8c%28'];

/** Texts that the schema of a parameter does not allow. */
export function* brokenText(place, value) {
  for (const [what, other] of broken(place, value)) {
    if (!['string', 'number', 'boolean'].includes(typeof other) && other !== null) continue;
    const text = String(other);
    if (text.length < 10_000 && !place.fits(place.read(text))) yield [what, text];
  }
  yield* [['digits', '9'.repeat(30)], ['a sign', '+5'], ['an exponent', '1e3']].filter(([, text]) => !place.fits(place.read(text)));
}
