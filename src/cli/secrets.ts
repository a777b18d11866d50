import type { SecretCheck } from "../document/mod.ts";
import { secretTrouble, type SecretName } from "../places/mod.ts";
import type { Operator } from "./operator.ts";

/** Looks at the secrets that stores of a workflow would get, and remembers which those are. */
export function storeSecrets({ secrets }: Operator): {
  readonly check: SecretCheck;
  /** Reads each that is needed, so that one that is not there is known before anything has begun. */
  readonly read: (more?: readonly SecretName[]) => Promise<void>;
} {
  const needed = new Map<string, SecretName>();
  const label = ({ name, key }: SecretName): string => `${name}/${key}`;
  return {
    check: (secret, endpoint) => {
      needed.set(label(secret), secret);
      return secretTrouble(secret, endpoint, secrets);
    },
    read: async (more = []) => {
      for (const name of new Set([...needed.keys(), ...more.map(label)])) {
        await secrets.get(name)?.value();
      }
    },
  };
}
