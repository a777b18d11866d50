// `npm run test:cluster [-- faults | FILES]`: builds etcd, kube-apiserver and kube-controller-manager when they are not there (about five minutes, once), and runs the tests
// that need them. `-- --serve` starts a control plane with Argo's kinds in it and says how to use it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { join } from "node:path";
import { clusterPrograms, TestCluster } from "./cluster.ts";

/** What a real API server cannot be brought to do. */
const badDays = ["../kubernetes/cuts.test.ts", "../argo/agent.test.ts", "artifact-gc.test.ts"];
const table = [
  `--test-reporter=${join(import.meta.dirname, "fault-table.ts")}`,
  "--test-reporter-destination=stdout",
];
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const asked = process.argv.slice(2);
const programs = await clusterPrograms(say);
if ("missing" in programs) {
  say(`!!! NOTHING WAS TESTED: no control plane could be installed: ${programs.missing}`);
  process.exit(1);
}
if (asked[0] === "--serve") {
  await using cluster = await TestCluster.start();
  await cluster.startManager();
  say(`KUBECONFIG=${cluster.kubeconfig}`);
  await Promise.race(["SIGINT", "SIGTERM"].map((name) => once(process, name)));
} else {
  const faults = asked[0] === "faults";
  const files = faults
    ? [...globSync("*faults*.test.ts", { cwd: import.meta.dirname }), ...badDays]
    : asked.length > 0
      ? asked
      : globSync("*.test.ts", { cwd: import.meta.dirname });
  const child = spawn(
    process.execPath,
    [
      "--test",
      "--test-concurrency=1",
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      ...(faults ? table : []),
      ...files.map((file) => join(import.meta.dirname, file)),
    ],
    { stdio: "inherit", env: { ...process.env, ATALANTA_CLUSTER_TESTS: "1" } },
  );
  const [code] = (await once(child, "exit")) as [number | null];
  process.exitCode = code ?? 1;
}
