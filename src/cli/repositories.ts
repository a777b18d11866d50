import { isMap, isScalar } from "yaml";
import { parseRepository, type Bundle, type Repository } from "../document/mod.ts";
import { Failure } from "../errors/mod.ts";
import { endpointOf, isComplete, secretsOf, secretTrouble, type Place } from "../places/mod.ts";
import type { Secret } from "../network/mod.ts";
import type { ConfigurationFile } from "./configuration.ts";

/** Where the operator keeps artifacts. */
export interface Repositories {
  /** Of workflows that name none. */
  readonly usual?: Repository;
  /** By the name of the mapping and the key in it, as `artifactRepositoryRef` has them. */
  readonly named: ReadonlyMap<string, ReadonlyMap<string, Repository>>;
}

export const noRepositories: Repositories = { named: new Map() };

/** Argo's name of the mapping that is meant when none is named. */
const usualMapping = "artifact-repositories";

/** Reads `artifactRepository:` and `artifactRepositories:` of a configuration, each in Argo's form. */
export function readRepositories(
  file: ConfigurationFile,
  secrets: ReadonlyMap<string, Secret>,
): Repositories {
  const usual = file.root.get("artifactRepository");
  const named = new Map<string, ReadonlyMap<string, Repository>>();
  for (const [mapping, keys] of mappingOf(file, file.root.get("artifactRepositories"))) {
    const found = new Map<string, Repository>();
    for (const [key, node] of mappingOf(file, keys)) {
      found.set(
        key,
        repository(file, node, { secrets, name: `artifactRepositories.${mapping}.${key}` }),
      );
    }
    named.set(mapping, found);
  }
  return {
    named,
    ...(usual === undefined
      ? {}
      : { usual: repository(file, usual, { secrets, name: "artifactRepository" }) }),
  };
}

/** Every bucket that the operator named himself. */
export function ownPlaces({ usual, named }: Repositories): readonly Place[] {
  const all = [...named.values()].flatMap((keys) => [...keys.values()]);
  return [...(usual ? [usual] : []), ...all].map(({ place }) => place);
}

/**
 * The repository of a workflow: the one that it names, of the operator's or of a ConfigMap among its own files, else the operator's usual
 * one; nothing where there is none, and everything stays in the folder of artifacts.
 */
export function repositoryFor(
  { workflow, configMaps }: Bundle,
  repositories: Repositories,
  onNotice: (message: string) => void,
): Repository | undefined {
  const reference = workflow.spec.artifactRepositoryRef;
  if (!reference) return repositories.usual;
  const { configMap = usualMapping, key } = reference;
  const keys = repositories.named.get(configMap);
  const name = `${configMap}${key === undefined ? "" : `/${key}`}`;
  const own = keys && chosen(keys, key, name);
  if (own) return own;
  const written = configMaps[configMap];
  const text = written && chosen(new Map(Object.entries(written)), key, name);
  if (text !== undefined) {
    const found = parseRepository(text, `ConfigMap ${name}`);
    if (isComplete(found.place)) return found;
    throw new Failure("workflow-invalid", `The ConfigMap ${name} names no whole place`, {
      hint: "Write s3, gcs, azure, oss or artifactory with its endpoint and bucket.",
    });
  }
  if (repositories.named.size === 0 && !repositories.usual) {
    onNotice(`There is no artifact repository "${name}" here: artifacts stay on this machine`);
    return undefined;
  }
  throw new Failure("invalid-argument", `There is no artifact repository "${name}"`, {
    hint: `Name it in the file for --config, under artifactRepositories.${configMap}, or give the file with the ConfigMap.`,
  });
}

/** Without a key, the only one that there is. */
function chosen<Value>(
  keys: ReadonlyMap<string, Value>,
  key: string | undefined,
  name: string,
): Value | undefined {
  if (key !== undefined) return keys.get(key);
  const [only] = keys.values();
  if (keys.size <= 1) return only;
  throw new Failure("workflow-invalid", `artifactRepositoryRef "${name}" has no key`, {
    hint: `Say which one: ${[...keys.keys()].join(", ")}.`,
  });
}

function repository(
  file: ConfigurationFile,
  node: unknown,
  { secrets, name }: { readonly secrets: ReadonlyMap<string, Secret>; readonly name: string },
): Repository {
  const place = file.place(node);
  const wrong = (message: string, hint: string | undefined): Failure =>
    new Failure("invalid-argument", message, { place, ...(hint === undefined ? {} : { hint }) });
  let found: Repository;
  try {
    found = parseRepository(JSON.stringify(node), file.path);
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown;
    throw wrong(`${name}: ${thrown.message}`, thrown.hint);
  }
  const endpoint = endpointOf(found.place);
  if (!isComplete(found.place) || endpoint === undefined || endpoint === "tags") {
    throw wrong(
      `${name} names no whole place`,
      "Write s3, gcs, azure, oss or artifactory below it, with its endpoint and bucket.",
    );
  }
  for (const secret of secretsOf(found.place)) {
    const trouble = secretTrouble(secret, endpoint, secrets);
    if (trouble) throw wrong(`${name}: ${trouble.message}`, trouble.hint);
  }
  return found;
}

function mappingOf(
  file: ConfigurationFile,
  node: unknown,
): readonly (readonly [string, unknown])[] {
  if (node === undefined || (isScalar(node) && node.value === null)) return [];
  if (isMap(node)) {
    return node.items.map(({ key, value }) => [isScalar(key) ? String(key.value) : "", value]);
  }
  throw new Failure("invalid-argument", "artifactRepositories is no mapping of mappings", {
    place: file.place(node),
    hint: "Write NAME: {KEY: {s3: {…}}} below it.",
  });
}
