// A small REST client: every answer with status, headers, text and, where it is JSON, the parsed body. What the OpenAPI
// document says of an answer is checked with each of them, and of every request that was answered 2xx.
import { connect } from 'node:net';
import { conforms, requested } from './openapi.mjs';

/**
 * @typedef {{status: number, headers: Headers, text: string, body: any}} Answer
 */

export class Rest {
  constructor(baseUrl, token = null) {
    this.baseUrl = baseUrl;
    this.token = token;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {any} [body] an object is sent as JSON, a string or bytes as they are
   * @returns {Promise<Answer>}
   */
  async request(method, path, body, headers = {}) {
    const raw = typeof body === 'string' || body instanceof Uint8Array;
    const sent = {
      ...(this.token ? { authorization: `Bearer ${this.token}` } : {}),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    };
    const response = await fetch(this.baseUrl + path, {
      method,
      redirect: 'manual',
      headers: sent,
      body: body === undefined ? undefined : raw ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
    const text = await response.text();
    let parsed;
    if (/json/.test(response.headers.get('content-type') ?? '')) parsed = JSON.parse(text);
    const answer = { status: response.status, headers: response.headers, text, body: parsed };
    conforms(method, path, answer);
    if (response.ok) requested(method, path, sent, body);
    return answer;
  }

  get(path, headers) { return this.request('GET', path, undefined, headers); }
  post(path, body, headers) { return this.request('POST', path, body, headers); }
  patch(path, body, headers) { return this.request('PATCH', path, body, headers); }
  put(path, body, headers) { return this.request('PUT', path, body, headers); }
  delete(path, headers) { return this.request('DELETE', path, undefined, headers); }
}

/**
 * Sends bytes as they are and collects what comes back until the other side closes or `ms` are over.
 * For requests that no HTTP library would build.
 */
export function rawHttp(baseUrl, bytes, ms = 3_000) {
  const { hostname, port } = new URL(baseUrl);
  return new Promise((done) => {
    const socket = connect(Number(port), hostname);
    let text = '';
    const end = () => { socket.destroy(); done(text); };
    const late = setTimeout(end, ms);
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => { text += chunk; });
    socket.on('error', () => {});
    socket.on('close', () => { clearTimeout(late); done(text); });
    socket.on('connect', () => socket.write(bytes));
  });
}

/** Statuses of all responses in a raw answer. */
export const statuses = (text) => [...text.matchAll(/HTTP\/1\.[01] (\d{3}) /g)].map(([, code]) => Number(code));
