// The functions of examples/functions/words.c, in AssemblyScript.
import { bytes, fail, fn, input, json, quoted, serve } from "./atalanta";

fn(
  "greet",
  (given: string): void => {
    const text = given.trim();
    // What stands in the quotes is JSON already.
    if (!text.startsWith('["') || !text.endsWith('"]')) fail("TypeError", "greet wants a name");
    json(`"Hello, ${text.slice(2, text.length - 2)}!"`);
  },
  '{"parameters":[{"name":"who","type":{"type":"string"}}],"result":{"type":"string"},"pure":true}',
);

fn(
  "shout",
  (_: string): void => bytes(String.UTF8.encode(String.UTF8.decode(input()).toUpperCase())),
  '{"parameters":[{"name":"text","type":"bytes"}],"result":"bytes"}',
);

fn(
  "words",
  (_: string): void => {
    const all = String.UTF8.decode(input()).split(" ");
    for (let at = 0; at < all.length; at++) {
      const word = all[at].trim();
      if (word.length > 0) json(`{"word":${quoted(word)},"length":${word.length}}\n`);
    }
  },
  '{"parameters":[{"name":"text","type":"bytes"}],"stream":"both","result":{"type":"object","required":["word","length"],"properties":{"word":{"type":"string"},"length":{"type":"integer"}}}}',
);

serve();
