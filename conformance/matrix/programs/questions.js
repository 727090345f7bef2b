// How the JavaScript programs are asked: each line of standard input is `{"source", "resource", "selector"}`, each line of standard
// output `{"token"}` or `{"refusal", "words"}`. The variables are the process's own, since these clients choose their source
// once per process.
"use strict";

const readline = require("node:readline");

async function answer(acquire) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { resource, selector, source } = JSON.parse(line);
    let told;
    try {
      told = { token: await acquire(resource, selector, source) };
    } catch (error) {
      told = { refusal: error.name, words: error.message };
    }
    process.stdout.write(`${JSON.stringify(told)}\n`);
  }
}

module.exports = { answer };
