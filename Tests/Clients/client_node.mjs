// Node with clients in it: evaluates what stands on each line of its standard input, and answers with a line.
//
//     node client_node.mjs HERALD.mjs

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { Runs } from "./client_runs.mjs";

const { Herald, HeraldError, Subscription } = await import(pathToFileURL(process.argv[2]));
Object.assign(globalThis, { Herald, HeraldError, Subscription, runs: new Runs(Herald) });
process.on("uncaughtException", ({ message }) => globalThis.runs.uncaught.push(message));

const indirectEval = eval; // in the scope of globals, as DevTools do it
for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { value: await indirectEval(JSON.parse(line)) };
  } catch (thrown) {
    answer = { thrown: String(thrown?.stack ?? thrown) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
