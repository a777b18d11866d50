import { toFailure } from "../../errors/mod.ts";
import { isRecord, listOf, recordOf, type Cluster, type Kind } from "../../kubernetes/mod.ts";

const definitions: Kind = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  namespaced: false,
};
/** Kinds with templates in them, and where in their schema the specification of workflows is. */
const holders = [
  ["workflows", "/spec"],
  ["workflowtemplates", "/spec"],
  ["clusterworkflowtemplates", "/spec"],
  ["cronworkflows", "/spec/workflowSpec"],
] as const;
const key = {
  type: "object",
  "x-kubernetes-preserve-unknown-fields": true,
  description: "A WebAssembly module, run by Atalanta. The webhook makes plugin of it.",
};

interface Options {
  readonly signal: AbortSignal;
}

/**
 * Lets Argo's definitions keep the key `wasm` of templates: what a definition does not know is dropped before a webhook sees it. Definitions that keep everything need
 * nothing, and one that is not there is left so. Gives the names of those that were changed.
 */
export function allowWasmKey(cluster: Cluster, options: Options): Promise<readonly string[]> {
  return changed(cluster, options, (properties) =>
    isRecord(properties["wasm"]) ? undefined : { op: "add", value: key },
  );
}

/** Takes that back. */
export function forgetWasmKey(cluster: Cluster, options: Options): Promise<readonly string[]> {
  return changed(cluster, options, (properties) =>
    isRecord(properties["wasm"]) ? { op: "remove" } : undefined,
  );
}

async function changed(
  cluster: Cluster,
  { signal }: Options,
  operation: (properties: Readonly<Record<string, unknown>>) => object | undefined,
): Promise<readonly string[]> {
  const names: string[] = [];
  for (const [plural, where] of holders) {
    const name = `${plural}.argoproj.io`;
    let found;
    try {
      found = await cluster.get(definitions, name, { signal });
    } catch (thrown) {
      if (toFailure(thrown).code === "cluster-missing") continue;
      throw thrown;
    }
    const patch: object[] = [];
    for (const [index, version] of listOf(recordOf(found["spec"])["versions"]).entries()) {
      const root = recordOf(recordOf(recordOf(version)["schema"])["openAPIV3Schema"]);
      const at = `/spec/versions/${index}/schema/openAPIV3Schema`;
      for (const path of [`${where}/templates/*`, `${where}/templateDefaults`]) {
        const holder = propertiesAt(root, path.slice(1).split("/"), at);
        const made = holder && operation(holder.properties);
        if (holder && made) patch.push({ ...made, path: `${holder.path}/wasm` });
      }
    }
    if (patch.length === 0) continue;
    const { resourceVersion } = found.metadata;
    const version = { op: "test", path: "/metadata/resourceVersion", value: resourceVersion };
    await cluster.patch(definitions, name, [version, ...patch], { type: "json", signal });
    names.push(name);
  }
  return names;
}

/** The properties of an object in a schema (`*` is an item of a list); undefined where the schema does not say so much. */
function propertiesAt(
  schema: Readonly<Record<string, unknown>>,
  names: readonly string[],
  path: string,
): { readonly properties: Readonly<Record<string, unknown>>; readonly path: string } | undefined {
  const { properties, items } = schema;
  const [name, ...rest] = names;
  if (name === undefined)
    return isRecord(properties) ? { properties, path: `${path}/properties` } : undefined;
  if (name === "*") return isRecord(items) ? propertiesAt(items, rest, `${path}/items`) : undefined;
  const inner = recordOf(properties)[name];
  return isRecord(inner) ? propertiesAt(inner, rest, `${path}/properties/${name}`) : undefined;
}
