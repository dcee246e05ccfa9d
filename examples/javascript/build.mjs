// node build.mjs SOURCE WIT OUT: makes a component of a provider in JavaScript.
//
// This is componentize-js called from node, not `jco componentize`, which takes no path outside the working directory.

import { rename, writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [sourcePath, witPath, out] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath,
  witPath,
  worldName: 'vendordata-provider',
  // The gateway's own clock, random bytes and HTTP are imported by name where they are wanted. What is left is
  // `console`, and where the gateway finds the stack of an uncaught exception: standard error.
  disableFeatures: ['clocks', 'random', 'http', 'fetch-event'],
});
// Whole or not at all.
await writeFile(`${out}.unfinished`, component);
await rename(`${out}.unfinished`, out);
