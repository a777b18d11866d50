#!/usr/bin/env node
// `kubectl atalanta …` is `atalanta …`: kubectl starts what has this name.
await import("./atalanta.js");
