// Spin with a room host beside it: the component in the stand-in (`SPIN_STAND_IN`), objects in our own binary.
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { announced, binary, end, freshDirectory, freshSecret, relaxed, run, startServer } from '../server.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const target = join(binary, '../..');

/** The stand-in: `SPIN_STAND_IN`, or the one beside the product. */
const standIn = resolve(process.env.SPIN_STAND_IN ?? join(binary, '../spin-stand-in'));
/** The component where `cargo xtask spin-build` leaves it. */
const component = resolve(process.env.SPIN_COMPONENT ?? join(target, 'wasm32-wasip2/edge/edge_component.wasm'));

/** WebSockets are at the room host's own address; a proxy routes them there. */
export const lacking = ['websocket', 'upgrade'];

/**
 * The stand-in alone.
 * @param {Record<string, string>} variables by their names in spin.toml
 * @returns its process, with `baseUrl` and `stop()`
 */
export async function startSpin(variables, { data = freshDirectory() } = {}) {
  const env = Object.fromEntries(Object.entries(variables).map(([name, value]) => [`SPIN_VARIABLE_${name.toUpperCase()}`, value]));
  const args = ['--manifest', join(root, 'spin.toml'), '--component', component, '--data', data];
  const process_ = run(args, { env, program: standIn });
  [, process_.baseUrl] = await announced(process_, /^Serving (http:\/\/127\.0\.0\.1:\d+)\s*$/m);
  process_.stop = () => end(process_);
  return process_;
}

/** Settings that only the process of the room host reads. */
const HOST_ONLY = ['GATEWAYS', 'TRUSTED_PROXIES', 'RUST_LOG'];

/** Both, with the same settings. */
export async function start({ env = {}, data, args = [] } = {}) {
  const key = freshSecret();
  const all = { ...relaxed, ...env };
  const rooms = await startServer({ env: { ...all, ROOM_HOST_KEY: key }, args: ['--roles', 'rooms,media', ...args], data });
  const shared = Object.entries(all).filter(([name]) => !HOST_ONLY.includes(name)).map(([name, value]) => [name.toLowerCase(), value]);
  const spin = await startSpin({ ...Object.fromEntries(shared), room_host_url: rooms.baseUrl, room_host_key: key });
  return {
    baseUrl: spin.baseUrl,
    secret: env.JWT_SECRET,
    key,
    rooms,
    spin,
    alive: () => rooms.alive() && spin.exit === null,
    output: () => `${spin.stdout}${spin.stderr}${rooms.output()}`,
    stop: async () => { await spin.stop(); await rooms.stop(); },
  };
}
