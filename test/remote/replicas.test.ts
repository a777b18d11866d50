import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { NatsCluster } from "./nats.ts";
import { remoteTests } from "./needed.ts";
import { deploy, Front, Runner } from "./processes.ts";

interface Said {
  readonly account_details?: readonly {
    readonly stream_detail?: readonly {
      readonly name: string;
      readonly config?: { readonly num_replicas?: number; readonly storage?: string };
    }[];
  }[];
}

describe("copies", remoteTests, () => {
  test("with --nats-replicas 3 everything that is kept is kept three times, on disk", async () => {
    await using cluster = await NatsCluster.start();
    await using front = await Front.start({ nats: cluster.urls, replicas: 3 });
    await using runner = await Runner.start({ nats: cluster.urls, replicas: 3 });
    assert(!runner.ended);
    await deploy(front.url);
    const response = await fetch(`${front.url}/v1/namespaces/default/functions/f/call/greet`, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": "once" },
      body: '["Ada"]',
    });
    assert.equal(response.status, 200, await response.text());
    const found = new Map<string, string>();
    for (const { monitor } of cluster.servers) {
      const url = `http://127.0.0.1:${monitor}/jsz?accounts=true&streams=true&config=true`;
      const said = (await (await fetch(url)).json()) as Said;
      for (const { name, config } of said.account_details?.[0]?.stream_detail ?? [])
        found.set(name, `${config?.storage ?? ""} ${config?.num_replicas ?? 0}`);
    }
    const kept = [
      "ATALANTA-ANSWERS",
      "ATALANTA-CALLS-default",
      "ATALANTA-DEAD",
      "KV_atalanta-deployments",
      "KV_atalanta-suspects",
      "OBJ_atalanta-bodies",
    ];
    assert.deepEqual(found, new Map(kept.map((name) => [name, "file 3"])));
  });
});
