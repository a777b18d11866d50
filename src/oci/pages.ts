import type { Ask, Exchange } from "./exchange.ts";
import { parseObject, Trouble } from "./failures.ts";

const mostPages = 1000;
const pageBytes = 4 * 1024 * 1024;
/** Tags or referrers of all pages. */
const mostListed = 100_000;

/**
 * Reads a list that comes in pages (RFC 8288), each an object of JSON from which `take` gets its entries. Undefined when there is no such list: the registry
 * answered with a status that was expected, or with something else.
 */
export async function readPages<Item>(
  exchange: Exchange,
  ask: Ask,
  take: (page: Readonly<Record<string, unknown>>) => readonly Item[] | undefined,
): Promise<readonly Item[] | undefined> {
  const { name, base } = ask.endpoint;
  const found: Item[] = [];
  let { url } = ask;
  for (let count = 0; count < mostPages; count++) {
    const at = url;
    const { answer, text } = await exchange.retried(ask, async () => {
      const answer = await exchange.once({ ...ask, url: at });
      return { answer, text: await exchange.read(answer, pageBytes, ask) };
    });
    const page = answer.status < 300 ? parseObject(text.toString()) : undefined;
    const items = page && take(page);
    if (!items) return undefined;
    found.push(...items);
    if (found.length > mostListed)
      throw new Trouble("image-invalid", `${name} lists more than ${mostListed} entries`);
    const next = answer.all("link").flatMap(nextOf)[0];
    const to = next === undefined ? undefined : URL.parse(next, answer.url);
    if (!to) return found;
    if (to.host !== base.host)
      throw new Trouble("registry-refused", `${name} goes on with a list at ${to.host}`);
    url = new URL(`${to.pathname}${to.search}`, base);
  }
  throw new Trouble("image-invalid", `${name} has a list of more than ${mostPages} pages`);
}

function nextOf(header: string): readonly string[] {
  return [...header.matchAll(/<([^<>]{1,8192})>([^<]*)/g)].flatMap(([, url = "", rest = ""]) =>
    /;\s*rel\s*=\s*"?next"?/i.test(rest) ? [url] : [],
  );
}
