// Processes and directories of tests: both are gone when the tests are.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atEnd } from './cleanup.mjs';

const LOG_BYTES = 64 * 1024 * 1024;

const children = new Set();
const killAll = () => children.forEach((child) => child.kill('SIGKILL'));
process.on('exit', killAll);
atEnd(killAll);

const directories = new Set();
process.on('exit', () => directories.forEach((path) => rmSync(path, { recursive: true, force: true })));

/** A new directory below `base`, removed when this process ends. */
export function freshDirectory(base = tmpdir()) {
  const path = mkdtempSync(join(base, 'chatcall-test-'));
  directories.add(path);
  return path;
}

/**
 * Starts a program and keeps what it prints.
 * @param {string} program
 * @param {string[]} args
 * @param {{env?: Record<string, string>, cwd: string, extra?: boolean}} options `env`: besides PATH, HOME, TMPDIR and LANG;
 *   `extra`: one more pipe from it, `child.stdio[3]`
 */
export function launch(program, args, { env = {}, cwd, extra = false }) {
  const { PATH, HOME, TMPDIR, LANG } = process.env;
  const inherited = Object.fromEntries(Object.entries({ PATH, HOME, TMPDIR, LANG }).filter(([, value]) => value));
  const stdio = ['ignore', 'pipe', 'pipe', ...(extra ? ['pipe'] : [])];
  const child = spawn(program, args, { cwd, env: { ...inherited, ...env }, stdio });
  children.add(child);
  const process_ = { child, pid: child.pid, stdout: '', stderr: '', exit: null };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8');
    child[stream].on('data', (text) => {
      if (process_[stream].length < LOG_BYTES) process_[stream] += text;
    });
  }
  process_.exited = new Promise((done) => {
    child.once('error', (error) => { process_.exit = { code: null, signal: null, error }; done(process_.exit); });
    child.once('close', (code, signal) => { children.delete(child); process_.exit ??= { code, signal }; done(process_.exit); });
  });
  return process_;
}

/** What a process has printed so far. */
export const printed = (process_) => `${process_?.stdout ?? ''}${process_?.stderr ?? ''}`;
