import type { Hostile } from "../guest.ts";

/** Guests that want the network without having been given any; what one with some may try lies in `test/network`. */
export const requests: readonly Hostile[] = [
  {
    name: "http-pointers",
    wants: "ask for a cloud's keys, with any pointer and length",
    ends: "exit 0",
    prints: "a plain request: acces\na response that there is not: badf\n0 were sent, 0 wrong\n",
  },
  {
    name: "import-http-proto",
    wants: "import what every object has from the functions for HTTP",
    ends: "module-import",
  },
  {
    name: "import-http-types",
    wants: "call the functions for HTTP by other types",
    ends: /^(exit 0|module-import)$/,
  },
];
