import { fault } from "../failure.ts";
import type { Function } from "../functions.ts";
import { dates } from "./dates.ts";
import { encoding } from "./encoding.ts";
import { lists } from "./lists.ts";
import { maps } from "./maps.ts";
import { numbers } from "./numbers.ts";
import { randomness } from "./randomness.ts";
import { regularExpressions } from "./regex.ts";
import { strings } from "./strings.ts";
import { values } from "./values.ts";

/** sprig's functions (https://masterminds.github.io/sprig/), as Argo offers them. */
const all: ReadonlyMap<string, Function> = new Map([
  ...strings,
  ...numbers,
  ...lists,
  ...maps,
  ...values,
  ...dates,
  ...encoding,
  ...regularExpressions,
  ...randomness,
]);

const host = "it would tell about the host";
const secrets = "secrets are not made in expressions";

/** What sprig has and is left out, with the reason. */
const leftOut: ReadonlyMap<string, string> = new Map([
  ["env", host],
  ["expandenv", host],
  ["getHostByName", host],
  ["bcrypt", secrets],
  ["htpasswd", secrets],
  ["derivePassword", secrets],
  ["genPrivateKey", secrets],
  ["buildCustomCert", secrets],
  ["genCA", secrets],
  ["genCAWithKey", secrets],
  ["genSelfSignedCert", secrets],
  ["genSelfSignedCertWithKey", secrets],
  ["genSignedCert", secrets],
  ["genSignedCertWithKey", secrets],
  ["encryptAES", secrets],
  ["decryptAES", secrets],
]);

/** A function of sprig, or a fault that names it. */
export function sprig(name: string): Function {
  const found = all.get(name);
  if (found !== undefined) return found;
  const reason = leftOut.get(name);
  throw fault(
    reason === undefined
      ? `unknown function sprig.${name.slice(0, 100)}`
      : `sprig.${name} is not offered: ${reason}`,
  );
}
