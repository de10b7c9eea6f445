// Our own host: one process of the release binary per suite.
import { startServer } from '../server.mjs';

/** It lacks nothing. */
export const lacking = [];

export const start = startServer;
