/** Runs `container:` and `script:` steps with docker, podman or nerdctl: whichever is here and works. */
export {
  detectContainerRuntime,
  noContainerRuntime,
  type ContainerRuntime,
  type DetectOptions,
  type NoContainerRuntime,
} from "./detect.ts";
export { createContainerRunner, type ContainerRunnerOptions } from "./runner.ts";
