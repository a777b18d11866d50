// What a program does with the client, in whatever runs it: the client is the first argument, the server's address the second. Nothing of Node is used here.
export async function program({ connect, RemoteError }, url) {
  const f = connect(url).module("f");
  const bytes = (text) => new TextEncoder().encode(text);
  const text = (value) => new TextDecoder().decode(value);
  const seen = [];
  seen.push(await f.greet("Ada"), await f.add(1, 2), await f.same({ a: ["ü", null] }));
  seen.push(
    text(await f.upper(bytes("hello"), { first: 2 })),
    text(await f.upper(new Blob(["blob"]))),
  );
  const counted = [];
  for await (const { n } of f.count(3)) counted.push(n);
  seen.push(counted);
  for await (const { n } of f.count(1000, 20)) {
    seen.push(n);
    break;
  }
  seen.push(await f.greet.map(["a", "b", "c"], { concurrency: 2 }));
  for (const work of [
    () => f.fail("no"),
    () => f.trap(),
    () => f.nope(),
    () => f.spin({ timeoutMs: 200 }),
  ]) {
    try {
      await work();
      seen.push("nothing was thrown");
    } catch (error) {
      seen.push([
        error instanceof RemoteError,
        error.name,
        error.code,
        error.status,
        error.data ?? null,
        error.guestStack.length > 0,
      ]);
    }
  }
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 100);
  seen.push(
    await f.sleep(60000, { signal: stop.signal }).then(
      () => "it came back",
      (error) => error.name,
    ),
  );
  seen.push(
    (await f.unique(1, "k", { idempotencyKey: "runtime" })) ===
      (await f.unique(1, "k", { idempotencyKey: "runtime" })),
  );
  return JSON.stringify(seen);
}
