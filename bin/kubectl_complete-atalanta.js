#!/usr/bin/env node
// What kubectl's own completion asks for the words after `kubectl atalanta`; the last one is the word to complete.
const words = process.argv.slice(2);
process.argv.splice(2, words.length, "complete", "--", String(words.length), "atalanta", ...words);
await import("./atalanta.js");
