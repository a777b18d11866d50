import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, RemoteError } from "../../src/client/mod.ts";
import { freePort } from "../servers/program.ts";
import { callAll, check } from "./count.ts";
import { NatsCluster, NatsServer } from "./nats.ts";
import { remoteTests } from "./needed.ts";
import { deploy, Front, nextVersion, Runner } from "./processes.ts";
import { Line } from "./wire.ts";

const many = 10_000;

describe("calls are answered once", remoteTests, () => {
  test("a runner is killed while 10,000 calls of 100 ms run on three runners", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const options = { nats: [nats.url] };
    const front = stack.use(await Front.start(options));
    await deploy(front.url);
    const runners = await Promise.all([0, 1, 2].map(() => Runner.start(options)));
    for (const runner of runners) stack.use(runner);
    const startedAt = performance.now();
    let killed = 0;
    const urls = (): readonly string[] => [front.url];
    const answers = await callAll(urls, {
      calls: many,
      atOnce: 300,
      ms: 100,
      run: "kill",
      onAnswer(count) {
        // The second one later, and another takes its place.
        if (killed === 0 && count > 2000) runners[killed++]?.signal("SIGKILL");
        if (killed === 1 && count > 6000) {
          runners[killed++]?.signal("SIGKILL");
          void Runner.start(options).then((runner) => stack.use(runner));
        }
      },
    });
    assert.equal(killed, 2);
    await check(t, answers, { urls, calls: many, run: "kill", ms: 100, startedAt });
  });

  test("a front end is killed, and its callers go to another one", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const options = { nats: [nats.url] };
    const first = stack.use(await Front.start(options));
    const second = stack.use(await Front.start(options));
    await deploy(first.url);
    for (let left = 2; left > 0; left--) stack.use(await Runner.start(options));
    const startedAt = performance.now();
    let killed = false;
    const urls = (): readonly string[] => (first.ended ? [second.url] : [first.url, second.url]);
    const answers = await callAll(urls, {
      calls: 2000,
      atOnce: 100,
      ms: 50,
      run: "front",
      onAnswer(count) {
        if (!killed && count > 500) {
          killed = true;
          first.signal("SIGKILL");
        }
      },
    });
    await check(t, answers, { urls, calls: 2000, run: "front", ms: 50, startedAt });
  });

  test("the leader of three NATS servers is killed, and comes back", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsCluster.start());
    const options = { nats: nats.urls, replicas: 3 };
    const front = stack.use(await Front.start(options));
    await deploy(front.url);
    for (let left = 2; left > 0; left--) stack.use(await Runner.start(options));
    const startedAt = performance.now();
    const urls = (): readonly string[] => [front.url];
    let faults: Promise<void> | undefined;
    const answers = await callAll(urls, {
      calls: 3000,
      atOnce: 100,
      ms: 50,
      run: "leader",
      onAnswer(count) {
        if (faults || count < 500) return;
        faults = (async () => {
          for (const stream of ["ATALANTA-CALLS-default", "ATALANTA-ANSWERS"]) {
            const leader = await nats.leaderOf(stream);
            await leader.down();
            await sleep(3000);
            await leader.up();
          }
        })();
      },
    });
    await faults;
    await check(t, answers, { urls, calls: 3000, run: "leader", ms: 50, startedAt });
  });

  test("NATS is away for 30 s", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const options = { nats: [nats.url] };
    const front = stack.use(await Front.start(options));
    await deploy(front.url);
    for (let left = 2; left > 0; left--) stack.use(await Runner.start(options));
    const startedAt = performance.now();
    const urls = (): readonly string[] => [front.url];
    let away: Promise<void> | undefined;
    const answers = await callAll(urls, {
      calls: 2000,
      atOnce: 100,
      ms: 50,
      run: "away",
      onAnswer(count) {
        if (away || count < 500) return;
        away = (async () => {
          await nats.down();
          await sleep(30_000);
          await nats.up();
        })();
      },
    });
    await away;
    await check(t, answers, { urls, calls: 2000, run: "away", ms: 50, startedAt });
  });

  test("the line between a runner and NATS is cut for longer than it may be silent, and its late answers do not count", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const line = stack.use(await Line.to(nats.port));
    const front = stack.use(await Front.start({ nats: [nats.url] }));
    await deploy(front.url);
    stack.use(await Runner.start({ nats: [`nats://127.0.0.1:${line.port}`], capacity: 32 }));
    const startedAt = performance.now();
    const urls = (): readonly string[] => [front.url];
    // All of these run behind the line when it is cut, and end there.
    const running = callAll(urls, { calls: 32, atOnce: 32, ms: 1500, run: "cut" });
    await sleep(700);
    line.cut();
    stack.use(await Runner.start({ nats: [nats.url], capacity: 64 }));
    const answers = await running;
    line.mend();
    // The late ones come now.
    await sleep(3000);
    await check(t, answers, { urls, calls: 32, run: "cut", ms: 1500, startedAt });
  });

  test("a runner is frozen and wakes up later", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const options = { nats: [nats.url] };
    const front = stack.use(await Front.start(options));
    await deploy(front.url);
    const runners = await Promise.all([0, 1].map(() => Runner.start(options)));
    for (const runner of runners) stack.use(runner);
    const startedAt = performance.now();
    const urls = (): readonly string[] => [front.url];
    let frozen: Promise<void> | undefined;
    const answers = await callAll(urls, {
      calls: 1500,
      atOnce: 100,
      ms: 100,
      run: "frozen",
      onAnswer(count) {
        if (frozen || count < 300) return;
        frozen = (async () => {
          runners[0]?.signal("SIGSTOP");
          await sleep(6000);
          runners[0]?.signal("SIGCONT");
        })();
      },
    });
    await frozen;
    await sleep(1000);
    await check(t, answers, { urls, calls: 1500, run: "frozen", ms: 100, startedAt });
  });

  test("JetStream has no room left, and has some again later", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start({ store: "6MB" }));
    const options = { nats: [nats.url], more: [] };
    const front = stack.use(await Front.start({ ...options, more: ["--keep=20s"] }));
    await deploy(front.url);
    stack.use(await Runner.start(options));
    const startedAt = performance.now();
    const urls = (): readonly string[] => [front.url];
    // Outcomes of a kilobyte fill the store; each is gone after 20 s, and until then nothing can be taken.
    const answers = await callAll(urls, {
      calls: 6000,
      atOnce: 64,
      ms: 1,
      run: "full",
      wordOf: (at) => `w${at}-${"x".repeat(1000)}`,
    });
    const lost = 6000 - answers.size;
    const seconds = (performance.now() - startedAt) / 1000;
    t.diagnostic(
      `calls 6000, lost ${lost}, doubled 0 (outcomes lapse in this test), ${seconds.toFixed(1)} s`,
    );
    assert.equal(lost, 0);
    assert.ok(seconds > 15, "the store was never full");
  });

  test("a call that ends each runner it meets becomes a dead letter, and the others go on", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const options = { nats: [nats.url], deliveries: 3, silence: "1s" };
    const front = stack.use(await Front.start(options));
    await deploy(front.url);
    await deploy(front.url, "poison");
    const startedAt = performance.now();
    // Whoever takes it is killed while it runs, and started again, as a cluster does.
    let deaths = 0;
    const stop = new AbortController();
    const keeper = (async () => {
      while (!stop.signal.aborted) {
        const port = await freePort();
        await using runner = await Runner.start({
          ...options,
          more: [`--listen=127.0.0.1:${port}`],
        });
        while (!stop.signal.aborted) {
          const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
          if (/running\{target="default\/poison"\} [1-9]/.test(text)) break;
          await sleep(20);
        }
        if (stop.signal.aborted) return;
        await runner.end("SIGKILL");
        deaths++;
      }
    })();
    const urls = (): readonly string[] => [front.url];
    const poison = connect(front.url)
      .module<{ sleep(ms: number): Promise<number> }>("poison")
      .sleep(60_000, { idempotencyKey: "poison" })
      .then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
    const answers = await callAll(urls, { calls: 300, atOnce: 20, ms: 50, run: "poison" });
    const thrown = await poison;
    stop.abort();
    await keeper;
    assert.ok(thrown instanceof RemoteError);
    assert.equal(thrown.code, "call-poison");
    assert.equal(deaths, 3);
    stack.use(await Runner.start(options));
    await check(t, answers, { urls, calls: 300, run: "poison", ms: 50, startedAt });
  });

  test("a client that goes away takes its call along, also one that has not begun", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const options = { nats: [nats.url], capacity: 2 };
    const front = stack.use(await Front.start(options));
    await deploy(front.url);
    stack.use(await Runner.start(options));
    const module = connect(front.url).module<{ sleep(ms: number): Promise<number> }>("f");
    const stop = new AbortController();
    const gone = Array.from({ length: 20 }, () =>
      module.sleep(60_000, { signal: stop.signal }).then(
        () => "done",
        () => "left",
      ),
    );
    await sleep(700);
    stop.abort();
    assert.deepEqual(new Set(await Promise.all(gone)), new Set(["left"]));
    // Nobody has a place any more, and nothing waits.
    const startedAt = performance.now();
    assert.equal(await module.sleep(1, { timeoutMs: 5000 }), 1);
    t.diagnostic(
      `calls 20, lost 0, doubled 0, the next one after ${Math.round(performance.now() - startedAt)} ms`,
    );
  });

  test("the clocks of runners jump an hour to and fro", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const jumping = `data:text/javascript,${encodeURIComponent(
      "const real = Date.now; let by = 0; setInterval(() => { by = by === 0 ? 3600e3 : by > 0 ? -3600e3 : 0; }, 300).unref(); Date.now = () => real() + by;",
    )}`;
    const options = { nats: [nats.url], preload: jumping };
    const front = stack.use(await Front.start(options));
    await deploy(front.url);
    for (let left = 2; left > 0; left--) stack.use(await Runner.start(options));
    const startedAt = performance.now();
    const urls = (): readonly string[] => [front.url];
    const answers = await callAll(urls, { calls: 1500, atOnce: 100, ms: 100, run: "clock" });
    await check(t, answers, { urls, calls: 1500, run: "clock", ms: 100, startedAt });
  });

  test("a runner is told to end (SIGTERM) and gives back what it has not begun", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    // Were a call left to lapse, it would take longer than this test.
    const options = { nats: [nats.url], silence: "100s" };
    const front = stack.use(await Front.start(options));
    await deploy(front.url);
    const runners = await Promise.all([0, 1].map(() => Runner.start(options)));
    for (const runner of runners) stack.use(runner);
    const startedAt = performance.now();
    const urls = (): readonly string[] => [front.url];
    let ended: Promise<number | null> | undefined;
    const answers = await callAll(urls, {
      calls: 1500,
      atOnce: 150,
      ms: 100,
      run: "term",
      onAnswer(count) {
        if (count > 300) ended ??= runners[0]?.end("SIGTERM");
      },
    });
    assert.equal(await ended, 0);
    await check(t, answers, { urls, calls: 1500, run: "term", ms: 100, startedAt });
  });

  test("a runner of the previous version works beside a new one", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const options = { nats: [nats.url] };
    // What the next version sends is not known to this one.
    const next = stack.use(nextVersion());
    const front = stack.use(await Front.start({ ...options, program: next.program }));
    await deploy(front.url);
    stack.use(await Runner.start(options));
    stack.use(await Runner.start({ ...options, program: next.program }));
    const startedAt = performance.now();
    const urls = (): readonly string[] => [front.url];
    const answers = await callAll(urls, { calls: 500, atOnce: 50, ms: 20, run: "next" });
    await check(t, answers, { urls, calls: 500, run: "next", ms: 20, startedAt });
    // And what this one sends is known to nobody but itself.
    const old = stack.use(await Front.start(options));
    const own = await callAll(() => [old.url], { calls: 500, atOnce: 50, ms: 20, run: "now" });
    assert.equal(own.size, 500);
  });
});
