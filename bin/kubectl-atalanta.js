#!/usr/bin/env node
// `kubectl atalanta …` is `atalanta …`: kubectl starts what has this name.
process.env.ATALANTA_CALLED = "kubectl atalanta";
await import("./atalanta.js");
