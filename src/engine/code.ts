import { Failure } from "../errors/mod.ts";
import { walkInstructions } from "./instructions.ts";
import { Reader } from "./reader.ts";

/** What V8's optimising compiler may be asked to do for one function, and for a module; programs of 3 MB have 80,000 and 1 million. */
const functionEffort = 10_000_000;
const moduleEffort = 1_000_000_000;
/**
 * Measured with Node 26.10: a unit is about 100 ns and 25 bytes. `value` is one that a call or a catch takes
 * or gives, `kept` one that is kept at a branch. A guest's thread compiles a function when it is first called, and cannot be stopped meanwhile: 0.3 s at worst.
 */
const efforts = { byte: 9, loop: 1000, call: 60, indirectCall: 500, value: 4, kept: 2 } as const;

/**
 * Looks at all instructions before V8 does, and refuses two kinds of programs.
 *
 * Tail calls: V8 gives a function whose only calls are tail calls no check of its stack, so two of them that call each other can be stopped
 * by nothing: no limit, no abort, not even the end of the process (tried with Node 26.10; docs/decisions/0018-what-v8-cannot-stop.md). No tool chain
 * makes them unless it is told to.
 *
 * Functions that cost V8's compiler more than they weigh: it keeps a value for each local variable at each branch, so a module of
 * 50 KB took minutes and all of the machine's memory, which ends the whole process.
 *
 * `widest` is the most parameters and results that a type of the module has together: whose they are is not looked up.
 */
export function checkCode(body: Uint8Array, name: string, widest: number): void {
  const reader = new Reader(body, name);
  const count = reader.number();
  let sum = 0;
  for (let index = 0; index < count; index++) {
    const effort = effortOf(reader.take(reader.number()), name, widest);
    sum += effort;
    if (effort <= functionEffort && sum <= moduleEffort) continue;
    const what = effort > functionEffort ? "a function" : "functions";
    throw new Failure("module-unsupported", `"${name}" has ${what} that would take too long to compile`, {
      hint: "Split functions of hundreds of kilobytes, or of thousands of local variables and branches, into smaller ones.",
    });
  }
  reader.end();
} // prettier-ignore

/** What it costs to compile a function. */
function effortOf(code: Uint8Array, name: string, widest: number): number {
  let branches = 0;
  let loops = 0;
  let calls = 0;
  let indirectCalls = 0;
  const locals = walkInstructions(code, name, (opcode, _second, _from, _to, listed) => {
    switch (opcode) {
      case 0x03:
        loops++;
        branches++;
        break;
      case 0x02:
      case 0x04:
      case 0x05:
      case 0x06:
      case 0x0c:
      case 0x0d:
      case 0x19:
      case 0xd5:
      case 0xd6:
        branches++;
        break;
      case 0x07:
        branches++;
        calls++;
        break;
      case 0x0e:
        branches += listed;
        break;
      case 0x08:
      case 0x10:
        calls++;
        break;
      case 0x11:
      case 0x14:
        calls++;
        indirectCalls++;
        break;
      case 0x12:
      case 0x13:
      case 0x15:
        throw new Failure("module-unsupported", `"${name}" makes tail calls`, {
          hint: "Build it without them (without -mtail-call): such a loop could not be stopped.",
        });
      case 0x1f:
        branches += 1 + listed;
        calls += listed;
        break;
      default:
        break;
    }
  });
  return (
    code.length * efforts.byte +
    loops * efforts.loop +
    calls * (efforts.call + widest * efforts.value) +
    indirectCalls * efforts.indirectCall +
    branches * (locals + widest) * efforts.kept
  );
}
