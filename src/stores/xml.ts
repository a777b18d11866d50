import { Failure } from "../errors/mod.ts";

/** An element of a store's answers: no attributes, no namespaces, and text only where there are no children. */
export interface Element {
  readonly name: string;
  readonly children: readonly Element[];
  readonly text: string;
}

/** Their answers are at most four deep, and a page of a list has some thousand elements. */
const mostDepth = 16;
const mostElements = 50_000;

const entities: ReadonlyMap<string, string> = new Map([
  ["lt", "<"],
  ["gt", ">"],
  ["amp", "&"],
  ["quot", '"'],
  ["apos", "'"],
]);

interface Open {
  readonly name: string;
  readonly children: Element[];
  text: string;
}

/** Reads XML as far as stores use it: no document types, so there are no entities to expand. Throws `store-refused`. */
export function parseXml(text: string): Element {
  const root: Open = { name: "", children: [], text: "" };
  const open: Open[] = [root];
  const token =
    /<!\[CDATA\[(.*?)\]\]>|<!--.*?-->|<\?.*?\?>|<(\/?)([^\s<>/!?]+)(?=[\s/>])[^<>]*?(\/?)>|([^<]+)/gsy;
  let end = 0;
  let elements = 0;
  for (let match = token.exec(text); match; match = token.exec(text)) {
    end = token.lastIndex;
    const [, data, closing, name, empty, plain] = match;
    const top = open.at(-1) ?? root;
    if (data !== undefined) top.text += data;
    else if (plain !== undefined) top.text += decoded(plain);
    else if (name !== undefined && ++elements > 2 * mostElements) throw malformed();
    else if (name !== undefined && closing === "/") {
      if (open.length === 1 || top.name !== local(name)) throw malformed();
      open.pop();
      open.at(-1)?.children.push(top);
    } else if (name !== undefined) {
      const element = { name: local(name), children: [], text: "" };
      if (empty === "/") top.children.push(element);
      else if (open.push(element) > mostDepth) throw malformed();
    }
  }
  const [element, more] = root.children;
  if (end < text.length || open.length > 1 || !element || more) throw malformed();
  return element;
}

/** The text of the first child of that name. */
export function textOf(element: Element, name: string): string | undefined {
  return element.children.find((child) => child.name === name)?.text;
}

export function escaped(text: string): string {
  return text.replaceAll(
    // oxlint-disable-next-line no-control-regex -- XML 1.0 has no way to write them; S3 takes the numbers all the same
    /[<>&"'\u0000-\u001F\u007F\uFFFE\uFFFF]/g,
    (character) => `&#x${(character.codePointAt(0) ?? 0).toString(16)};`,
  );
}

function local(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}

function decoded(text: string): string {
  return text.replaceAll(
    /&(?:#(\d{1,7})|#x([\da-fA-F]{1,6})|(\w{1,8}));/g,
    (whole, decimal, hex, name) => {
      if (typeof name === "string") return entities.get(name) ?? whole;
      const point =
        typeof decimal === "string" ? Number(decimal) : Number.parseInt(String(hex), 16);
      return point <= 0x10_ffff ? String.fromCodePoint(point) : "\uFFFD";
    },
  );
}

function malformed(): Failure {
  return new Failure("store-refused", "The store answered with XML that cannot be read");
}
