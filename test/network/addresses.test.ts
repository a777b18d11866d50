import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { failureOf, fetchText, Host, ok, open } from "./host.ts";

let host: Host;
before(async () => {
  host = await Host.start(() => ok("here"));
});
after(() => host[Symbol.asyncDispose]());

/** Asks for a name that leads to an address; what the gate says. A ceiling of bytes keeps it from connecting to one that is allowed. */
async function leadsTo(address: string, allowed: readonly string[] = []): Promise<string> {
  using passage = await open({
    resolve: async () => [address],
    addresses: allowed,
    limits: { httpBytes: 1 },
  });
  const failure = await failureOf(fetchText(passage, "http://a.example:1/"));
  return failure.code === "limit-http-bytes" ? "allowed" : failure.message;
}

const refused: readonly (readonly [string, string])[] = [
  ["0.0.0.0", "of this host"],
  ["0.1.2.3", "of this host"],
  ["10.0.0.0", "private"],
  ["10.255.255.255", "private"],
  ["100.64.0.0", "shared by a carrier"],
  ["100.127.255.255", "shared by a carrier"],
  ["127.0.0.1", "loopback"],
  ["127.255.255.254", "loopback"],
  ["169.254.0.1", "link-local"],
  ["169.254.169.254", "a metadata service's"],
  ["169.254.170.2", "a metadata service's"],
  ["100.100.100.200", "a metadata service's"],
  ["168.63.129.16", "a metadata service's"],
  ["172.16.0.0", "private"],
  ["172.31.255.255", "private"],
  ["192.0.0.8", "reserved"],
  ["192.0.2.1", "for documentation"],
  ["192.88.99.1", "of a relay"],
  ["192.168.0.1", "private"],
  ["198.18.0.1", "for benchmarks"],
  ["198.19.255.255", "for benchmarks"],
  ["198.51.100.1", "for documentation"],
  ["203.0.113.1", "for documentation"],
  ["224.0.0.1", "multicast"],
  ["239.255.255.255", "multicast"],
  ["240.0.0.1", "reserved"],
  ["255.255.255.255", "reserved"],
  ["::", "of this host"],
  ["::1", "loopback"],
  ["::7f00:1", "not public"],
  ["::127.0.0.1", "not public"],
  ["::ffff:127.0.0.1", "loopback"],
  ["::ffff:7f00:1", "loopback"],
  ["0:0:0:0:0:ffff:0a00:0001", "private"],
  ["::ffff:169.254.169.254", "a metadata service's"],
  ["64:ff9b::10.0.0.1", "private"],
  ["64:ff9b::a9fe:a9fe", "a metadata service's"],
  ["64:ff9b:1::1", "not public"],
  ["100::1", "not public"],
  ["2001::1", "of a protocol"],
  ["2001:db8::1", "for documentation"],
  ["2002:7f00:1::", "of a relay"],
  ["2002:a00:1::1", "of a relay"],
  ["3fff::1", "for documentation"],
  ["2606:4700::5efe:10.0.0.1", "of a tunnel"],
  ["2606:4700::200:5efe:a00:1", "of a tunnel"],
  ["5f00::1", "not public"],
  ["fc00::1", "private"],
  ["fd00:ec2::254", "a metadata service's"],
  ["fd12:3456::1", "private"],
  ["fe80::1", "link-local"],
  ["febf::1", "link-local"],
  ["fec0::1", "private"],
  ["ff02::1", "multicast"],
  ["not an address", "no address"],
  ["127.1", "no address"],
  ["fe80::1%lo", "no address"],
];

describe("a name may lead to anything, and only public addresses are connected to", () => {
  for (const [address, what] of refused) {
    test(`${address} is ${what}`, async () => {
      assert.equal(
        await leadsTo(address),
        `"a.example" leads to an address that is ${what}, which the operator has not listed`,
      );
    });
  }
  const open4 = ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"];
  const more4 = ["126.255.255.255", "128.0.0.0", "172.15.255.255", "172.32.0.0", "223.255.255.255"];
  const open6 = ["2606:4700:4700::1111", "2001:200::1", "64:ff9b::1.1.1.1", "::ffff:8.8.8.8"];
  for (const address of [...open4, ...more4, ...open6]) {
    test(`${address} is public`, async () => {
      assert.equal(await leadsTo(address), "allowed");
    });
  }
});

describe("the operator may list addresses", () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["10.0.0.0/8", "10.1.2.3", true],
    ["10.0.0.0/16", "10.1.2.3", false],
    ["10.1.2.3", "10.1.2.3", true],
    ["10.1.2.3", "10.1.2.4", false],
    ["10.1.2.3/31", "10.1.2.2", true],
    ["10.0.0.0/8", "::ffff:10.1.2.3", true],
    ["::ffff:10.0.0.0/104", "10.1.2.3", true],
    ["10.0.0.0/8", "64:ff9b::10.1.2.3", true],
    ["0.0.0.0/0", "192.168.1.1", true],
    ["0.0.0.0/0", "fd00::1", false],
    ["fd00::/8", "fd12::1", true],
    ["fd00::/8", "fe80::1", false],
    // A range does not open what gives keys away; naming it does.
    ["169.254.0.0/16", "169.254.169.253", true],
    ["169.254.0.0/16", "169.254.169.254", false],
    ["0.0.0.0/0", "169.254.169.254", false],
    ["::/0", "::ffff:169.254.169.254", false],
    ["fd00::/8", "fd00:ec2::254", false],
    ["169.254.169.254", "169.254.169.254", true],
    ["fd00:ec2::254/128", "fd00:ec2::254", true],
  ];
  for (const [range, address, allowed] of cases) {
    test(`${range} ${allowed ? "opens" : "does not open"} ${address}`, async () => {
      const said = await leadsTo(address, [range]);
      assert.equal(said === "allowed", allowed, said);
    });
  }

  test("what is no range is refused", async () => {
    for (const range of [
      "",
      "localhost",
      "10.0.0.0/33",
      "::/129",
      "10.0.0.0/",
      "10.0.0.0/8/8",
      "10.0.0/8",
      "::1%lo",
    ]) {
      assert.equal((await failureOf(open({ addresses: [range] }))).code, "invalid-argument", range);
    }
  });

  test("an address in its list of hosts is listed", async () => {
    const url = `http://127.0.0.1:${host.port}`;
    using passage = await open({ operator: [url], addresses: [] });
    assert.equal((await fetchText(passage, `${url}/`)).body, "here");
    using wild = await open({ operator: ["http://*:*"], addresses: [] });
    assert.equal((await failureOf(fetchText(wild, `${url}/`))).code, "network-denied");
  });

  test("an address in the list of hosts is not open to names that lead there", async () => {
    const operator = [`http://127.0.0.1:${host.port}`, "http://*.partner.example:*"];
    using passage = await open({ operator, addresses: [] });
    for (const url of [`http://a.partner.example:${host.port}/`, "http://a.partner.example:22/"]) {
      assert.match(
        (await failureOf(fetchText(passage, url))).message,
        /an address that is loopback/,
      );
    }
    assert.equal((await fetchText(passage, `http://127.0.0.1:${host.port}/`)).body, "here");
    const other = await failureOf(fetchText(passage, "http://127.0.0.1:22/"));
    assert.match(other.message, /is not in the operator's list/);
  });

  test("listing an address does not let a name lead there that is not in the list of hosts", async () => {
    using passage = await open({ operator: [`http://127.0.0.1:${host.port}`], addresses: [] });
    const failure = await failureOf(fetchText(passage, `http://a.example:${host.port}/`));
    assert.match(failure.message, /is not in the operator's list/);
  });
});

describe("between check and connection nothing changes", () => {
  test("a name is asked for once for each request, and the connection goes to what was checked", async () => {
    const answers = [["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]];
    const asked: string[] = [];
    using passage = await open({
      resolve: async (name) => {
        asked.push(name);
        return answers[asked.length - 1] ?? [];
      },
    });
    const url = `http://rebind.example:${host.port}/`;
    const before = host.requests.length;
    assert.equal((await fetchText(passage, url)).body, "here");
    assert.equal(host.requests[before]?.split("\r\n")[1], `Host: rebind.example:${host.port}`);
    const second = await failureOf(fetchText(passage, url));
    assert.match(second.message, /a metadata service's/);
    assert.equal((await fetchText(passage, url)).body, "here");
    assert.deepEqual(asked, ["rebind.example", "rebind.example", "rebind.example"]);
    assert.equal(host.requests.length, before + 2);
  });

  test("of a name that leads to both kinds, only the allowed addresses are connected to", async () => {
    using passage = await open({
      resolve: async () => ["169.254.169.254", "10.0.0.1", "127.0.0.1"],
    });
    assert.equal((await fetchText(passage, `http://mixed.example:${host.port}/`)).body, "here");
  });

  test("an address in a URL is checked like one that a name leads to, and no name server is asked", async () => {
    let asked = 0;
    const resolve = async (): Promise<readonly string[]> => {
      asked++;
      return ["127.0.0.1"];
    };
    using passage = await open({ resolve, addresses: [] });
    const hosts = [
      "169.254.169.254",
      "0xa9fea9fe",
      "2852039166",
      "0251.0376.0251.0376",
      "127.1",
      "0",
      "[::1]",
      "[::ffff:7f00:1]",
      "[64:ff9b::a9fe:a9fe]",
      "①②⑦.0.0.1",
    ];
    for (const name of hosts) {
      const failure = await failureOf(fetchText(passage, `http://${name}:${host.port}/`));
      assert.equal(failure.code, "network-denied", name);
    }
    assert.equal(asked, 0);
  });

  test("a name without addresses, and a name server that fails, are failures of the network", async () => {
    using none = await open({ resolve: async () => [] });
    assert.equal((await failureOf(fetchText(none, "http://a.example/"))).code, "network-failed");
    const resolve = async (): Promise<readonly string[]> => {
      throw Object.assign(new Error("getaddrinfo ENOTFOUND a.example"), { code: "ENOTFOUND" });
    };
    using lost = await open({ resolve });
    const failure = await failureOf(fetchText(lost, "http://a.example/"));
    assert.equal(failure.message, "http://a.example/ failed: there is no host of this name");
  });

  test("names that a guest left behind do not fill the line for others", async () => {
    const asked: string[] = [];
    let held: (() => void)[] | undefined = [];
    const resolve = async (name: string): Promise<readonly string[]> => {
      asked.push(name);
      if (held) await new Promise<void>((done) => held?.push(done));
      return ["127.0.0.1"];
    };
    await using host = await Host.start(() => ok("x"));
    using passage = await open({ resolve });
    const url = (name: string): string => `http://${name}.example:${host.port}/`;
    for (let round = 0; round < 20; round++) {
      const sent = { timeoutMs: 5 };
      const failure = await failureOf(fetchText(passage, url(`slow${round}`), sent));
      assert.equal(failure.code, "network-timeout");
    }
    const again = fetchText(passage, url("slow19"));
    const other = fetchText(passage, url("other"));
    const begun = held;
    held = undefined;
    for (const go of begun) go();
    assert.equal((await other).body, "x");
    assert.equal((await again).body, "x");
    assert.deepEqual(asked, ["slow0.example", "slow1.example", "slow19.example", "other.example"]);
  });

  test("a name server that does not answer holds a request no longer than its time, nor longer than the guest lives", async () => {
    using passage = await open({ resolve: () => new Promise(() => undefined) });
    const slow = await failureOf(fetchText(passage, "http://a.example/", { timeoutMs: 30 }));
    assert.equal(slow.code, "network-timeout");
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    const { signal } = stop;
    const gone = await failureOf(
      fetchText(passage, "http://b.example/", { signal, timeoutMs: 9000 }),
    );
    assert.equal(gone.code, "aborted");
  });
});
