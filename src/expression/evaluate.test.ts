import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { Failure } from "../errors/mod.ts";
import {
  ceilings,
  evaluate,
  evaluateCondition,
  ExpressionFailure,
  expressionReferences,
  parseDepends,
  references,
  substitute,
  type ExpressionProblem,
  type Scope,
} from "./mod.ts";

const options = { now: Date.UTC(2026, 7, 21, 12), random: () => 0.5 };

/** A scope of dotted names that can also tell the names below one. */
function scopeOf(names: Readonly<Record<string, unknown>>): Scope {
  const known = new Map(Object.entries(names));
  return {
    get: (name) => known.get(name),
    within: (name) => {
      const prefix = name === "" ? "" : `${name}.`;
      const below = [...known.keys()].filter((key) => key.startsWith(prefix));
      return new Set(below.map((key) => key.slice(prefix.length).split(".")[0] ?? ""));
    },
  };
}

/** What the Go libraries that Argo 4.1 uses make of the same texts: expr-lang 1.17.8, sprig 3.3.0, jsonpath 0.8.1, govaluate. */
const expected = JSON.parse(readFileSync(new URL("expected.json", import.meta.url), "utf8")) as {
  readonly scope: Readonly<Record<string, unknown>>;
  /** The text, and when it has a value: its text by `string()`, and its JSON where it has one. */
  readonly expressions: readonly (readonly [string, string?, (string | null)?])[];
  /** The text and whether it holds; null when it is refused. */
  readonly conditions: readonly (readonly [string, boolean | null])[];
};

function problem(run: () => unknown): ExpressionFailure {
  try {
    run();
  } catch (error) {
    assert(error instanceof ExpressionFailure, String(error));
    return error;
  }
  throw new Error("nothing failed");
}

const empty: Scope = { get: () => undefined };

function value(expression: string, scope: Scope = empty): unknown {
  return evaluate(expression, scope, options);
}

describe("an expression has the value that Go gives it", () => {
  const scope = scopeOf(expected.scope);
  for (const [text, formatted, json] of expected.expressions) {
    if (formatted === undefined) {
      test(`${text} is refused`, () => {
        assert(problem(() => value(text, scope)).message.length > 0);
      });
      continue;
    }
    test(`${text} is ${formatted}`, () => {
      const shown = text.includes("let ") || text.includes(";") || text.includes("//");
      // A sequence cannot be an argument, so it is put in parentheses where it can.
      const inner = shown ? text.replace("// comment", "") : text;
      assert.equal(value(`string((${inner}))`, scope), formatted);
      if (json !== null && json !== undefined) {
        assert.equal(value(`toJson((${inner}))`, scope), json);
      }
    });
  }
});

describe("a condition holds where govaluate says so", () => {
  for (const [text, holds] of expected.conditions) {
    test(`"${text}" ${holds === null ? "is refused" : holds ? "holds" : "does not hold"}`, () => {
      if (holds === null) assert.throws(() => evaluateCondition(text), Failure);
      else assert.equal(evaluateCondition(text), holds);
    });
  }
});

describe("evaluate", () => {
  test("gives plain data", () => {
    assert.equal(value("1 + 2"), 3);
    assert.equal(value("9007199254740993"), 9_007_199_254_740_993n);
    assert.deepEqual(value("[1, 2.5, 'a', nil, true]"), [1, 2.5, "a", null, true]);
    assert.equal(JSON.stringify(value("{a: {b: 1}}")), '{"a":{"b":1}}');
    assert.equal(value("date('2026-08-21')"), "2026-08-21T00:00:00Z");
  });

  test("the clock and chance are the caller's", () => {
    assert.equal(value("now()"), "2026-08-21T12:00:00Z");
    assert.equal(value("sprig.now().Unix()"), options.now / 1000);
    assert.equal(value("sprig.date('15:04', nil)"), "12:00");
    assert.equal(value("sprig.ago(now() - duration('90s'))"), "1m30s");
    assert.equal(value("sprig.randNumeric(3)"), "555");
    assert.equal(value("sprig.uuidv4()"), "80808080-8080-4080-8080-808080808080");
    assert.equal(value("sprig.shuffle('abc')"), value("sprig.shuffle('abc')"));
  });

  test("groups and pairs become maps, whose keys are written as text", () => {
    assert.equal(value("toJson(groupBy(1..4, # % 2))"), '{"0":[2,4],"1":[1,3]}');
    assert.equal(value("toJson(fromPairs([['b', 1], ['a', 2]]))"), '{"a":2,"b":1}');
  });

  test("typed values of the scope keep their type", () => {
    const scope = scopeOf({
      response: { statusCode: 201, headers: { "x-a": ["b"] }, ok: true },
      since: new Date(options.now - 60_000),
    });
    assert.equal(value("response.statusCode >= 200 && response.ok", scope), true);
    assert.equal(value("response.headers['x-a'][0]", scope), "b");
    assert.equal(value("(now() - since).Seconds()", scope), 60);
  });

  test("an index into a parameter is a byte of it", () => {
    const scope = scopeOf({ "inputs.parameters.p": "héllo" });
    assert.equal(value("inputs.parameters.p[0]", scope), 104);
    assert.equal(value("inputs.parameters.p[1:3]", scope), "é");
    assert.equal(problem(() => value("inputs.parameters.p[9]", scope)).problem, "value");
    assert.equal(problem(() => value("inputs.parameters.p.x", scope)).problem, "missing");
  });

  test("looks only at the names that it needs", () => {
    const asked: string[] = [];
    const scope: Scope = {
      get: (name) => {
        asked.push(name);
        return name === "inputs.parameters.a-b" ? "x" : undefined;
      },
    };
    assert.equal(value("true ? inputs.parameters['a-b'] : steps.none.id", scope), "x");
    assert.deepEqual(asked, ["inputs.parameters.a-b"]);
  });

  test("uses names as maps where the scope can tell what is below", () => {
    const scope = scopeOf({ "inputs.parameters.b": "2", "inputs.parameters.a": "1" });
    assert.equal(value("toJson(inputs.parameters)", scope), '{"a":"1","b":"2"}');
    assert.equal(value("'a' in inputs.parameters", scope), true);
    assert.equal(value("'z' in inputs.parameters", scope), false);
    assert.equal(value("let k = 'b'; inputs.parameters[k]", scope), "2");
    assert.equal(value("get(inputs.parameters, 'z') ?? 'none'", scope), "none");
    assert.equal(value("sort(keys(inputs.parameters))[0]", scope), "a");
  });

  const places: readonly (readonly [string, ExpressionProblem, number])[] = [
    ["1 +", "syntax", 2],
    ["1 2", "syntax", 2],
    ["(1", "syntax", 1],
    ["'open", "syntax", 0],
    ["a ? b", "syntax", 4],
    ["map([1])", "syntax", 7],
    ["1 + 'a'", "value", 2],
    ["len('a') == '1'", "value", 9],
    ["not 'a'", "value", 0],
    ["'a' matches '('", "value", 12],
    ["[1][5]", "value", 3],
    ["foo(1)", "value", 0],
    ["sprig.foo(1)", "value", 6],
    ["'é🎉' + nope.x", "missing", 8],
  ];
  for (const [text, kind, offset] of places) {
    test(`${text} fails at ${offset}`, () => {
      const found = problem(() => value(text));
      assert.equal(found.problem, kind);
      assert.equal(found.offset, offset);
    });
  }

  test("counts columns by characters and lines from one", () => {
    assert.match(problem(() => value("'é🎉' + nope")).message, /\(1:8 in /u);
    assert.match(problem(() => value("1 +\n nope")).message, /\(2:2 in /u);
  });

  test("names what sprig has and is not offered, with the reason", () => {
    for (const name of ["env", "expandenv", "getHostByName", "genPrivateKey", "htpasswd"]) {
      assert.match(
        problem(() => value(`sprig.${name}('x')`)).message,
        new RegExp(`sprig\\.${name} is not offered`, "u"),
      );
    }
  });
});

describe("nothing leads from an expression to the host", () => {
  const hostile = [
    "''.constructor",
    "[].constructor",
    "{}.__proto__",
    "{}.constructor",
    "{}['__proto__']",
    "fromJSON('{\"a\": 1}').__proto__",
    "fromJSON('{\"a\": 1}').toString",
    "get({}, 'constructor')",
    "sprig.get({}, '__proto__')",
    "sprig.dig('__proto__', 'constructor', nil, {})",
    "now().constructor",
    "now().toString()",
    "duration('1s').nanoseconds",
    "timezone('UTC').name",
    "sprig.semver('1.2.3').major",
    "sprig.constructor('return 1')",
    "sprig.__proto__",
    "constructor('x')",
    "toString()",
    "process.env.PATH",
    "globalThis",
    "$env.process",
    "$env.constructor.constructor",
    "this",
    "map([1], #.constructor)",
    "let constructor = 1; nope.constructor",
  ];
  for (const text of hostile) {
    test(`${text} is nothing`, () => {
      let found: unknown;
      try {
        found = value(text);
      } catch (error) {
        assert(error instanceof ExpressionFailure, String(error));
        return;
      }
      assert(found === null || found === "", String(found));
    });
  }

  test("a key of a guest's stays a key", () => {
    const scope = scopeOf({ x: '{"__proto__": {"polluted": true}, "constructor": 1}' });
    const found = value("fromJSON(x)", scope);
    assert(typeof found === "object" && found !== null);
    assert.equal(Object.getPrototypeOf(found), null);
    assert.deepEqual(Object.keys(found), ["__proto__", "constructor"]);
    assert.equal(Reflect.get({}, "polluted"), undefined);
    assert.equal(
      value("toJson(fromJSON(x))", scope),
      '{"__proto__":{"polluted":true},"constructor":1}',
    );
    const replaced = substitute(JSON.parse('{"__proto__": "{{x}}"}') as object, scope, options);
    assert.deepEqual(Object.keys(replaced), ["__proto__"]);
  });
});

describe("ceilings", () => {
  test("of the length of an expression", () => {
    const text = (length: number): string => `'${"a".repeat(length - 2)}'`;
    assert.equal(String(value(text(ceilings.textLength))).length, ceilings.textLength - 2);
    assert.equal(problem(() => value(text(ceilings.textLength + 1))).code, "limit-expression");
  });

  test("of its depth and of its nodes", () => {
    const nested = (depth: number): string => `${"(".repeat(depth)}1${")".repeat(depth)}`;
    assert.equal(value(nested(ceilings.depth - 1)), 1);
    const sum = (count: number): string => Array.from({ length: count }, () => "1").join(" + ");
    assert.equal(value(sum(ceilings.depth)), ceilings.depth);
    const list = (count: number): string =>
      `len([${Array.from({ length: count }, () => "1").join(",")}])`;
    assert.equal(value(list(ceilings.nodes - 2)), ceilings.nodes - 2);
    for (const text of [
      nested(ceilings.depth + 1),
      nested(30_000),
      sum(ceilings.depth + 1),
      list(ceilings.nodes + 1),
      "[".repeat(60_000),
      "-".repeat(60_000),
      "not ".repeat(16_000),
      "{a:".repeat(20_000),
      `a${".b".repeat(30_000)}`,
      `a${"?.b".repeat(20_000)}`,
      "1 ? ".repeat(16_000),
      "let a = ".repeat(8000),
      "if true {".repeat(7000),
    ]) {
      assert.equal(problem(() => value(text)).problem, "ceiling", text.slice(0, 20));
    }
  });

  test("of the steps of an evaluation", () => {
    assert.equal(value("len(map(1..100000, #))"), 100_000);
    for (const text of [
      "map(1..1000000000, #)",
      "1..9223372036854775807",
      "map(1..2000, map(1..2000, #))",
      "reduce(1..1000, reduce(1..1000, reduce(1..1000, 1)))",
      "uniq(1..3000)",
      "sprig.until(1000000000)",
      "sprig.seq(1000000000)",
      "sprig.randAlpha(1000000000)",
      "repeat('a', 1000000000)",
      "sprig.indent(1000000000, 'a')",
      "replace(repeat('a', 1000000), '', repeat('b', 1000))",
      "reduce(1..60, #acc + #acc, 'ab')",
      "reduce(1..60, concat(#acc, #acc), [1])",
      "reduce(1..60, [#acc, #acc], [1]) | toJson()",
      "sprig.regexReplaceAll('a*?b|', repeat('a', 50000), 'x')",
      "sprig.mulf(1e-300, 1e-300, 1e-300) + reduce(1..100000, sprig.mulf(1e-300, 1e-300), 1.0)",
    ]) {
      const start = performance.now();
      assert.equal(problem(() => value(text)).problem, "ceiling", text);
      // Far above what it takes, far below what it would take without the ceiling.
      assert(performance.now() - start < 30_000, text);
    }
  });

  test("of work on large values, which counts by their size", () => {
    const mebibyte = 1024 * 1024;
    const scope = scopeOf({
      big: "a".repeat(4 * mebibyte),
      same: `${"a".repeat(4 * mebibyte - 1)}a`,
      base64: "AAAA".repeat(2 * mebibyte),
      wide: "é".repeat(mebibyte),
      spaces: `${" ".repeat(mebibyte)}x`,
      underscores: "_".repeat(mebibyte),
      digits: `${"1".repeat(mebibyte)}x`,
      list: `[${"1,".repeat(200_000)}1]`,
    });
    for (const text of [
      "big == same",
      "len(fromBase64(base64)) > 0",
      "trim(spaces) == 'x'",
      "sprig.camelcase(underscores) == underscores",
      "sprig.snakecase(digits) == digits",
      "sprig.float64(digits) == 0.0",
      "sprig.wrap(5, big) == big",
      "len(sprig.untitle(big)) == len(big)",
      "wide[0] == 195",
    ]) {
      assert.equal(value(text, scope), true, text);
    }
    for (const text of [
      "map(1..300000, big == same)",
      "map(1..300000, big < same)",
      "map(1..300000, upper(big))",
      "map(1..300000, big contains 'b')",
      "map(1..300000, big matches 'b')",
      "map(1..300000, wide[#])",
      "map(1..300000, string(big))",
      "let a = fromJSON(list); map(1..300000, reverse(a))",
      "let a = fromJSON(list); map(1..300000, a[1:])",
      "jsonpath(list, '$..*..*..*')",
      "sprig.wrapWith(2, '|', big)",
    ]) {
      const start = performance.now();
      assert.throws(
        () => value(text, scope),
        (error) => error instanceof ExpressionFailure && error.problem === "ceiling",
        text,
      );
      assert(performance.now() - start < 30_000, text);
    }
  });

  test("of the depth of a value", () => {
    const json = (depth: number): Scope =>
      scopeOf({ x: `${"[".repeat(depth)}${"]".repeat(depth)}` });
    assert.equal(value("len(fromJSON(x))", json(ceilings.valueDepth)), 1);
    assert.equal(problem(() => value("fromJSON(x)", json(100_000))).problem, "value");
    assert.equal(problem(() => value("toJson(reduce(1..1000, [#acc], 1))")).problem, "value");
    assert.equal(problem(() => value("string(reduce(1..1000, [#acc], 1))")).problem, "value");
  });

  test("of a pattern, which cannot take longer than its text is long", () => {
    const scope = scopeOf({ x: "a".repeat(100_000) });
    const start = performance.now();
    assert.equal(value("x matches '^(a+)+$'", scope), true);
    assert.equal(value("(x + 'b') matches '^(a|a)*$'", scope), false);
    assert(performance.now() - start < 5000);
    assert.equal(problem(() => value(`'a' matches '${"a".repeat(1001)}'`)).problem, "value");
    assert.equal(problem(() => value("'a' matches '(a{1000}){1000}'")).problem, "value");
  });
});

describe("any text ends in a value or a failure", () => {
  const pieces = [
    ...Array.from("+-*/%^()[]{}.,:;?!#|&=<>'\"`\\ \n0123456789abé🎉$_"),
    ..."** ?? ?. .. == != <= >= && || or and not in let if else matches contains nil true".split(
      " ",
    ),
    ..."map filter reduce len string int split toJson fromJSON sprig sprig.trunc now date".split(
      " ",
    ),
    ..."{{ }} {{= A.Succeeded .Failed 1..9 0x 1e5 'a' \"b\" item.x inputs.parameters['p'] #acc".split(
      " ",
    ),
  ];
  const scope = scopeOf({ "item.x": "1", "inputs.parameters.p": '{"a":[1]}', a: "b" });

  const seed = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  test(`with seed ${seed}`, () => {
    let state = seed;
    const random = (): number => {
      // mulberry32
      state = (state + 0x6d_2b_79_f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
    const pick = <Item>(items: readonly Item[]): Item => {
      const found = items[Math.floor(random() * items.length)];
      assert(found !== undefined);
      return found;
    };
    const known = expected.expressions.map(([text]) => text);
    const make = (): string => {
      if (random() < 0.5) {
        return Array.from({ length: 1 + Math.floor(random() * 12) }, () => pick(pieces)).join(
          random() < 0.5 ? " " : "",
        );
      }
      // An expression that is one, with a part of another in it.
      const [text, other] = [pick(known), pick(known)];
      const at = Math.floor(random() * text.length);
      const from = Math.floor(random() * other.length);
      return (
        text.slice(0, at) + other.slice(from, from + 8) + text.slice(at + Math.floor(random() * 4))
      );
    };
    for (let count = 0; count < 4000; count += 1) {
      const text = make();
      for (const run of [
        (): unknown => value(text, scope),
        (): unknown => expressionReferences(text),
        (): unknown => substitute(`a {{=${text}}} b ${text}`, scope, options),
        (): unknown => references(`{{${text}}}`),
        (): unknown => evaluateCondition(text),
        (): unknown => parseDepends(text),
      ]) {
        try {
          run();
        } catch (error) {
          if (!(error instanceof Failure) || error.code === "internal") {
            assert.fail(`${JSON.stringify(text)} threw ${String(error)}`);
          }
        }
      }
    }
  });
});
