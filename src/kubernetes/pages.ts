import { Failure } from "../errors/mod.ts";
import { listOf, objectOf, recordOf, textOf } from "./json.ts";
import type { KubeObject } from "./mod.ts";

/** Objects of one page of a list. */
const pageSize = 500;

interface Page {
  readonly items: readonly KubeObject[];
  /** Of the list as a whole: what it can be watched from. */
  readonly resourceVersion: string;
}

/** A list, page by page. */
export async function* pages(
  ask: (query: URLSearchParams) => Promise<unknown>,
  selection: () => URLSearchParams,
): AsyncGenerator<Page> {
  let next = "";
  do {
    const query = selection();
    query.set("limit", String(pageSize));
    if (next !== "") query.set("continue", next);
    const answer = recordOf(await ask(query));
    // What is no list is not an empty one: everything would be gone.
    if (!textOf(answer["kind"])?.endsWith("List")) {
      throw new Failure("cluster-unavailable", "The API server answered with what is no list", {
        hint: "Is that the address of a Kubernetes API server?",
      });
    }
    const metadata = recordOf(answer["metadata"]);
    yield {
      items: listOf(answer["items"]).map(objectOf),
      resourceVersion: textOf(metadata["resourceVersion"]) ?? "",
    };
    next = textOf(metadata["continue"]) ?? "";
  } while (next !== "");
}
