// Which server a suite talks to: the one at BASE_URL, or one of its own on the host named by HOST; and what that host
// can do.
import { freshSecret } from './server.mjs';

/** `own`, `workerd` or `spin`: a module with `start(options)` and the features that the host is `lacking`. */
const name = process.env.HOST ?? 'own';
if (!/^[a-z]+$/.test(name)) throw new Error(`HOST: no host is called ${name}`);
const host = await import(`./hosts/${name}.mjs`);

/** What a host may lack, and why: the reason is printed with each skipped case. */
const REASONS = {
  objects: 'this host serves accounts only; conversations live on its room host',
  websocket: 'this host holds no WebSockets; they are routed to its room host',
  polling: 'this host serves no long-polling',
  upgrade: 'this host announces no upgrades',
  heartbeat: 'this host hibernates and announces ping values of its own',
  secret: 'the signing secret of this host is not known here (JWT_SECRET)',
  unlimited: 'this host enforces rates that the suite would exceed (RATE_LIMITS=off lifts them)',
  frames: 'this runtime puts WebSocket frames together itself, with bounds and close codes of its own',
  silent: 'this runtime holds back the close frame of a socket whose client never said anything',
  rawhttp: 'a proxy in front of this host decides about malformed HTTP',
};

const spec = (process.env.HOST_FEATURES ?? '').split(',').map((word) => word.trim()).filter(Boolean);
const lacking = new Set(spec.filter((word) => word.startsWith('-')).map((word) => word.slice(1)));
const listed = spec.filter((word) => !word.startsWith('-') && word !== 'all');
for (const word of [...lacking, ...listed]) {
  if (!(word in REASONS)) throw new Error(`HOST_FEATURES: unknown feature ${word}; known: ${Object.keys(REASONS).join(', ')}`);
}
if (listed.length) Object.keys(REASONS).filter((name) => !listed.includes(name)).forEach((name) => lacking.add(name));

export const external = Boolean(process.env.BASE_URL);
if (!external) host.lacking.forEach((word) => lacking.add(word));
if (external && !process.env.JWT_SECRET) lacking.add('secret');

/** Whether this host has all of these features. */
export const has = (...features) => features.every((feature) => !lacking.has(feature));

/** Options of `test`: skipped with the platform's reason where a feature is missing. */
export function needs(...features) {
  const missing = features.find((feature) => lacking.has(feature));
  return missing ? { skip: REASONS[missing] } : {};
}

/** A target with the smallest interface the suites need: `baseUrl`, `secret`, `stop()`, `alive()`. */
export async function target(options = {}) {
  if (external) {
    return { baseUrl: process.env.BASE_URL.replace(/\/$/, ''), secret: process.env.JWT_SECRET, external: true, alive: () => true, stop: async () => {} };
  }
  return host.start({ ...options, env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret(), ...options.env } });
}
