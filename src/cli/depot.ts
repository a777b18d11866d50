import { rm } from "node:fs/promises";
import { rootCertificates } from "node:tls";
import type { ArtifactStore } from "../artifacts/mod.ts";
import { addressRules, loopbackAddresses, privateAddresses, proxiesFrom } from "../network/mod.ts";
import { createDepot, type Depot } from "../task/mod.ts";
import type { Operator } from "./operator.ts";
import { ownPlaces } from "./repositories.ts";

/** The way to stores outside, as the operator allows it. Nothing of it is loaded before it is used. */
export function openDepot(options: {
  readonly artifacts: ArtifactStore;
  readonly operator: Operator;
  /** Of the command line, beside the operator's. */
  readonly allowAddresses?: readonly string[];
}): Depot {
  const { artifacts, operator, allowAddresses = [] } = options;
  const { permissions, secrets, authorities } = operator;
  let folder: string | undefined;
  const depot = createDepot({
    artifacts,
    secrets,
    own: ownPlaces(operator.repositories),
    openStores: async () => {
      const { openStores } = await import("../stores/mod.ts");
      const allowed = [...(permissions.allowedAddresses ?? []), ...allowAddresses];
      folder = await artifacts.stagingFolder();
      return openStores({
        reach: addressRules({ allowedAddresses: allowed }),
        operatorReach: addressRules({
          allowedAddresses: [...privateAddresses, ...loopbackAddresses, ...allowed],
        }),
        ...(authorities.length === 0 ? {} : { authorities: [...rootCertificates, ...authorities] }),
        stagingFolder: folder,
        environment: process.env,
        proxyFor: proxiesFrom(process.env),
      });
    },
  });
  return {
    check: (place) => depot.check(place),
    bring: (place, how) => depot.bring(place, how),
    restore: (copy, artifact, how) => depot.restore(copy, artifact, how),
    send: (place, artifact, packing, how) => depot.send(place, artifact, packing, how),
    remove: (copy, artifact, how) => depot.remove(copy, artifact, how),
    async [Symbol.asyncDispose]() {
      await depot[Symbol.asyncDispose]();
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}
