import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { compile } from "watr";
import { Failure } from "../errors/mod.ts";
import { defaultLimits } from "../limits/mod.ts";
import { header, i32, leb, list, section, type } from "../../test/hostile/assemble.ts";
import { withCeilings } from "./ceilings.ts";

function looked(text: string): Uint8Array {
  const bytes = compile(text);
  assert.ok(WebAssembly.validate(Buffer.from(bytes)), "V8 does not accept the test's own module");
  return withCeilings(bytes, "it", defaultLimits);
}

function refused(text: string, message: RegExp): void {
  assert.throws(
    () => looked(text),
    (thrown) => {
      assert.ok(thrown instanceof Failure);
      assert.equal(thrown.code, "module-unsupported");
      assert.match(thrown.message, message);
      return true;
    },
  );
}

/** Every form of what may follow an opcode: numbers, types, tables, lanes, and bytes that look like tail calls. */
const everything = `(type $t (func (param i32) (result i32)))
  (type $wide (func (param i64 i64) (result i64 i64)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $y (result i32)))
  (memory 1) (table $table 2 funcref) (global $g (mut i64) (i64.const 0x12)) (tag $tag (param i32)) (data $d "\\12\\13") (elem $e func $f)
  (func $f (type $t) (i32.add (local.get 0) (i32.const 0x12)))
  (func (export "_start") (local $a i64) (local $v v128) (local $r externref) (local $x exnref)
    (drop (call $y)) (drop (call_indirect (type $t) (i32.const 0x1312) (i32.const 0)))
    (i64.const 0x1212121212121212) (i64.const 1) (block (type $wide)) (drop) (drop)
    (drop (f32.const 1)) (drop (f64.const 0x1.2121212121212p+3))
    (loop (result i32) (block (br_table 0 0 1 0 (i32.const 1) (i32.const 0x12))) (i32.const 3)) (drop)
    (if (i32.const 0) (then (unreachable)) (else (nop)))
    (drop (select (result externref) (local.get $r) (ref.null extern) (i32.const 1)))
    (i64.store offset=0x1212 align=1 (i32.const 0) (i64.load (i32.const 0)))
    (v128.store (i32.const 0) (v128.const i8x16 0x12 0x13 0x15 0x12 0x13 0x15 0x12 0x13 0x15 0x12 0x13 0x15 0x12 0x13 0x15 0x12))
    (local.set $v (i8x16.shuffle 18 19 21 18 19 21 18 19 21 18 19 21 18 19 21 18 (local.get $v) (local.get $v)))
    (local.set $v (v128.load8_lane 15 (i32.const 0) (local.get $v)))
    (local.set $v (v128.load32_zero (i32.const 0)))
    (drop (i16x8.extract_lane_s 7 (local.get $v)))
    (drop (i32x4.relaxed_trunc_f32x4_s (local.get $v)))
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)
    (memory.copy (i32.const 0) (i32.const 1) (i32.const 1)) (memory.fill (i32.const 0) (i32.const 0x12) (i32.const 1))
    (table.init $table $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e)
    (table.copy $table $table (i32.const 0) (i32.const 0) (i32.const 1))
    (drop (table.grow $table (ref.null func) (i32.const 1))) (drop (table.size $table))
    (table.fill $table (i32.const 0) (ref.null func) (i32.const 1))
    (table.set $table (i32.const 0) (ref.func $f)) (drop (ref.is_null (table.get $table (i32.const 0))))
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1))) (atomic.fence)
    (drop (i64.trunc_sat_f64_u (f64.const 1)))
    (block $h (try_table (catch_all $h) (throw $tag (i32.const 1))))
    (drop (memory.grow (i32.const 0))) (drop (memory.size)))`;

describe("instructions are looked at one by one", () => {
  test("whatever V8 accepts and can be stopped passes as it is", () => {
    const bytes = looked(`(module ${everything})`);
    assert.ok(WebAssembly.validate(Buffer.from(bytes)));
  });

  for (const [what, call] of [
    ["a tail call", "(return_call $g)"],
    ["one by a table", "(return_call_indirect (type $none) (i32.const 0))"],
    ["one by a reference", "(return_call_ref $none (ref.null $none))"],
  ] as const) {
    test(`${what} is found, also behind all of that`, () => {
      const text = everything.replace(/\)$/, ` ${call})`);
      refused(`(module (type $none (func)) ${text} (func $g))`, /makes tail calls/);
    });
  }

  test("a function may have as many variables and branches as the compiler can take, and not one more", () => {
    const made = (branches: number): string => {
      return `(module (func (export "_start") (local ${"i64 ".repeat(1000)}) ${"(block)".repeat(branches)}))`;
    };
    // 1,000 variables count twice at each branch, and each of the three bytes of a block 9 times.
    const most = Math.floor(10_000_000 / (2 * 1000 + 27));
    assert.doesNotThrow(() => looked(made(most - 10)));
    refused(made(most + 10), /a function that would take too long to compile/);
  });

  test("what a block takes and gives counts as variables do", () => {
    const values = (count: number): string => "i32 ".repeat(count);
    const text = `(module (type $wide (func (param ${values(500)}) (result ${values(500)})))
      (func (export "_start") ${"(i32.const 0)".repeat(500)} ${"(block (type $wide))".repeat(20_000)} ${"(drop)".repeat(500)}))`;
    refused(text, /too long to compile/);
  });

  test("functions that are each below the ceiling are not so all together", () => {
    const blocks = Buffer.alloc(4000 * 3, Buffer.from([0x02, 0x40, 0x0b]));
    const body = Buffer.concat([Buffer.from([1, ...leb(1000), i32]), blocks, Buffer.from([0x0b])]);
    const one = Buffer.concat([Buffer.from(leb(body.length)), body]);
    const made = (count: number): Buffer => {
      const code = Buffer.concat([Buffer.from(leb(count)), ...Array.from({ length: count }, () => one)]);
      const functions = section(3, list(Array.from({ length: count }, () => [0])));
      return Buffer.concat([Buffer.from([...header, ...section(1, list([type([], [])])), ...functions, 10, ...leb(code.length)]), code]);
    };
    assert.doesNotThrow(() => withCeilings(made(100), "it", defaultLimits));
    assert.throws(() => withCeilings(made(130), "it", defaultLimits), /functions that would take too long/);
  });

  test("an instruction that is none we know is refused", () => {
    const bytes = Buffer.from(compile("(module (func (export \"_start\") (nop)))"));
    bytes[bytes.length - 2] = 0xe0;
    assert.throws(() => withCeilings(bytes, "it", defaultLimits), /the instruction 0xe0/);
  });
}); // prettier-ignore
